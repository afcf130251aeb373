//! The gate against a plain one that probes every line every time.

use std::collections::{HashMap, VecDeque};

use super::super::rate::Bucket;
use super::*;

#[derive(Clone, Debug, PartialEq)]
struct PlainClass {
    priority: Priority,
    demand: Demand,
    limits: Limits,
}

impl PlainClass {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let concurrency = self.limits.concurrency.iter().map(|it| &*it.key);
        concurrency.chain(self.limits.rate.iter().map(|it| &*it.key))
    }
}

struct PlainLine {
    class: PlainClass,
    waiting: VecDeque<(u64, usize)>,
    since: Option<u64>,
}

/// The rules and nothing else: a walk over the heads of all lines in their order, as often as somebody loses
/// patience.
struct Plain {
    capacity: Capacity,
    used: Vec<(usize, PlainClass)>,
    lines: Vec<PlainLine>,
    buckets: HashMap<String, Bucket>,
    arrivals: u64,
    starts: u64,
    /// What a rate alone held up in the last walk.
    early: Vec<PlainClass>,
}

impl Plain {
    fn new(capacity: Capacity) -> Self {
        let (used, lines, buckets) = (Vec::new(), Vec::new(), HashMap::new());
        Self { capacity, used, lines, buckets, arrivals: 0, starts: 0, early: Vec::new() }
    }

    fn wait(&mut self, what: usize, pool: PoolKind, priority: Priority, limits: &Limits) {
        let class =
            PlainClass { priority, demand: Demand::of(&self.capacity, pool, &limits.needs), limits: limits.clone() };
        let known = self.lines.iter().position(|line| line.class == class);
        let at = known.unwrap_or_else(|| {
            self.lines.push(PlainLine { class, waiting: VecDeque::new(), since: None });
            self.lines.len() - 1
        });
        self.lines[at].waiting.push_back((self.arrivals, what));
        self.arrivals += 1;
    }

    fn open(&mut self, now: Tick) -> Vec<usize> {
        let mut through = Vec::new();
        while self.pass(now, &mut through) {}
        through
    }

    fn pass(&mut self, now: Tick, through: &mut Vec<usize>) -> bool {
        self.early.clear();
        let all = Demand::all(&self.capacity);
        let (mut kinds, mut keys, mut patience) = ([false; Demand::KINDS], Vec::new(), u64::MAX);
        let mut after = None;
        loop {
            let place = |line: &PlainLine| Some((line.class.priority, line.waiting.front()?.0));
            let heads = self.lines.iter().enumerate().filter_map(|(at, line)| Some((place(line)?, at)));
            let Some((place, at)) = heads.filter(|(place, _)| Some(*place) > after).min() else { return false };
            after = Some(place);
            let class = self.lines[at].class.clone();
            let held = (0..Demand::KINDS).any(|kind| kinds[kind] && class.demand.0[kind] > 0)
                || class.keys().any(|key| keys.iter().any(|held| held == key));
            if self.allowed(&class) > now {
                self.early.extend((!held).then_some(class));
                continue;
            }
            let (room, fits) = (self.has_room(&class), self.fits(&class));
            let line = &mut self.lines[at];
            if room && fits && !held {
                line.since = None;
                through.extend(line.waiting.pop_front().map(|(_, what)| what));
                if let Some(rate) = &class.limits.rate {
                    self.buckets.entry(rate.key.to_string()).or_default().take(rate, now);
                }
                self.used.push((*through.last().expect("it was the head"), class));
                self.starts += 1;
                if self.starts >= patience {
                    return true;
                }
                continue;
            }
            let end = *line.since.get_or_insert(self.starts) + MAX_OVERTAKES;
            if end <= self.starts {
                keys.extend(class.keys().map(str::to_owned));
                // While its key is full, it could do nothing with the rest.
                for kind in (0..Demand::KINDS).filter(|kind| room && all.0[*kind] != u64::MAX) {
                    kinds[kind] |= class.demand.0[kind] > 0;
                }
            } else {
                patience = patience.min(end);
            }
        }
    }

    fn allowed(&self, class: &PlainClass) -> Tick {
        let allowed = |rate: &Rate| self.buckets.get(&*rate.key).copied().unwrap_or_default().allowed(rate);
        class.limits.rate.as_ref().map_or(Tick(0), allowed)
    }

    fn has_room(&self, class: &PlainClass) -> bool {
        let Some(limit) = &class.limits.concurrency else { return true };
        let shares = |other: &PlainClass| other.limits.concurrency.as_ref().is_some_and(|it| it.key == limit.key);
        self.used.iter().filter(|(_, other)| shares(other)).count() < limit.max as usize
    }

    fn fits(&self, class: &PlainClass) -> bool {
        let all = Demand::all(&self.capacity);
        (0..Demand::KINDS).all(|kind| {
            let used: u64 = self.used.iter().map(|(_, other)| other.demand.0[kind]).sum();
            all.0[kind] == u64::MAX || used + class.demand.0[kind] <= all.0[kind]
        })
    }

    /// When a rate allows the next start at the soonest, and when one that nothing else holds up.
    fn nexts(&self, now: Tick) -> [Tick; 2] {
        let heads = self.lines.iter().filter(|line| !line.waiting.is_empty()).map(|line| &line.class);
        let early = heads.map(|class| self.allowed(class)).filter(|at| *at > now);
        let free = self.early.iter().filter(|class| self.has_room(class) && self.fits(class));
        let soonest = |at: Option<Tick>| at.unwrap_or(Tick(u64::MAX));
        [soonest(early.min()), soonest(free.map(|class| self.allowed(class)).min())]
    }

    fn give_back(&mut self, what: usize) {
        self.used.retain(|(other, _)| *other != what);
    }

    fn leave(&mut self, what: usize) {
        for line in &mut self.lines {
            let head = line.waiting.front().copied();
            line.waiting.retain(|(_, other)| *other != what);
            if line.waiting.front().copied() != head {
                line.since = None;
            }
        }
    }
}

/// What comes: its pool, priority, slots, processors, and which keys with which numbers.
type Comer = (bool, u8, u32, u64, Option<(u8, u32)>, Option<(u8, u32, u32)>);

fn comers(most: u8) -> impl Strategy<Value = Comer> {
    let urgency = prop_oneof![6 => Just(5u8), 1 => 4..7u8];
    let cpu = prop_oneof![2 => Just(0u64), 2 => 1..30u64, 1 => 50..=100u64];
    let concurrency = proptest::option::of((0..most, 1..4u32));
    let rate = proptest::option::weighted(0.4, (0..most, 1..3u32, 1..4u32));
    (any::<bool>(), urgency, 1..=2u32, cpu, concurrency, rate)
}

fn limits_of((_, _, slots, cpu, concurrency, rate): Comer) -> Limits {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let needs = needs(slots, cpu as f64, 0.0);
    let concurrency = concurrency.map(|(key, max)| Concurrency { key: format!("k{key}").into(), max });
    // Some keys are both.
    let name = |key: u8| if key == 0 { "k0".into() } else { format!("r{key}") };
    let rate = rate.map(|(key, count, burst)| Rate { burst, ..Rate::per_second(name(key), count) });
    Limits { needs, concurrency, rate }
}

#[derive(Clone, Debug)]
enum PlainEvent {
    Comes(Comer),
    Ends(u16),
    Leaves(u16),
    Passes(u64),
}

fn events(most: u8) -> impl Strategy<Value = Vec<PlainEvent>> {
    let event = prop_oneof![
        10 => comers(most).prop_map(PlainEvent::Comes),
        8 => any::<u16>().prop_map(PlainEvent::Ends),
        1 => any::<u16>().prop_map(PlainEvent::Leaves),
        2 => (1..800u64).prop_map(PlainEvent::Passes),
    ];
    proptest::collection::vec(event, 1..400)
}

/// Plays a history to both and compares what they let through.
fn compare(events: Vec<PlainEvent>, capacity: Capacity) -> Result<(), TestCaseError> {
    let (mut gate, mut plain) = (Gate::new(capacity), Plain::new(capacity));
    let (mut now, mut comers) = (0, 0);
    let mut waiting: Vec<(usize, GateWaiter)> = Vec::new();
    let mut running: Vec<(usize, Permit)> = Vec::new();
    let mut events = VecDeque::from(events);
    for round in 0..=100_000 {
        prop_assert!(round < 100_000, "somebody waits for ever");
        // In the end all run.
        let event = events.pop_front().unwrap_or_else(|| {
            if running.is_empty() {
                PlainEvent::Passes(500)
            } else {
                PlainEvent::Ends(u16::try_from(round % 7).unwrap_or(0))
            }
        });
        match event {
            PlainEvent::Comes(comer) => {
                let pool = if comer.0 { PoolKind::Cpu } else { PoolKind::Io };
                let (priority, limits) = (Priority::try_from(comer.1).expect("in range"), limits_of(comer));
                waiting.push((comers, gate.wait(comers, pool, priority, &limits).expect("can be met")));
                plain.wait(comers, pool, priority, &limits);
                comers += 1;
            }
            PlainEvent::Ends(which) if !running.is_empty() => {
                let (what, permit) = running.swap_remove(usize::from(which) % running.len());
                gate.give_back(permit);
                plain.give_back(what);
            }
            PlainEvent::Leaves(which) if !waiting.is_empty() => {
                let (what, place) = waiting.swap_remove(usize::from(which) % waiting.len());
                prop_assert_eq!(gate.leave(place), Some(what));
                plain.leave(what);
            }
            PlainEvent::Passes(millis) => now += millis * 1_000_000,
            PlainEvent::Ends(_) | PlainEvent::Leaves(_) => {}
        }
        let through = gate.open(Tick(now));
        prop_assert_eq!(
            through.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
            plain.open(Tick(now)),
            "in {}",
            round
        );
        let ([soonest, latest], next) = (plain.nexts(Tick(now)), gate.next().unwrap_or(Tick(u64::MAX)));
        prop_assert!((soonest..=latest).contains(&next), "{next:?} is not between {soonest:?} and {latest:?}");
        waiting.retain(|(what, _)| through.iter().all(|(other, _)| other != what));
        prop_assert_eq!(gate.len(), waiting.len());
        running.extend(through);
        if events.is_empty() && running.is_empty() && waiting.is_empty() {
            break;
        }
    }
    prop_assert!(gate.is_whole() && gate.is_empty());
    gate.assert_empty();
    Ok(())
}

proptest! {
    #[test]
    fn l12_the_same_starts_in_the_same_order_with_few_keys(events in events(3)) {
        compare(events, Capacity { processes: Some(4), cpu: Some(percent(100.0)), ..Capacity::default() })?;
    }

    #[test]
    fn l12_the_same_starts_in_the_same_order_with_many_keys(events in events(40)) {
        compare(events, Capacity { cpu: Some(percent(100.0)), ..Capacity::default() })?;
    }

    #[test]
    fn l12_the_same_starts_in_the_same_order_where_keys_alone_count(events in events(3)) {
        compare(events, Capacity::default())?;
    }
}
