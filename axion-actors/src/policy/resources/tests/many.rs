//! Very many keys: what it costs is counted in probes of lines.

use super::*;

const KEYS: u32 = 10_000;

fn keyed(key: u32) -> Limits {
    Limits { concurrency: Some(Concurrency { key: format!("host{key}").into(), max: 1 }), ..Limits::default() }
}

fn rated(key: u32) -> Limits {
    Limits { rate: Some(Rate::per_second(format!("host{key}"), 1)), ..Limits::default() }
}

fn numbers(through: &[(u32, Permit)]) -> Vec<u32> {
    through.iter().map(|(number, _)| *number).collect()
}

#[test]
fn the_one_free_key_behind_9999_full_ones_starts_at_once_and_so_do_all_that_follow_it() {
    let mut gate = Gate::new(Capacity { cpu: Some(percent(100.0)), ..Capacity::default() });
    let with_cpu = |key| Limits { needs: needs(1, 0.001, 0.0), ..keyed(key) };
    for _ in 0..2 {
        (0..KEYS - 1).for_each(|key| enter_as(&mut gate, key, PoolKind::Io, &with_cpu(key)));
    }
    let running = gate.open(Tick(0));
    assert_eq!(running.len(), 9_999);
    // Far more often than their patience: they could do nothing with what it uses.
    for _ in 0..10 * MAX_OVERTAKES {
        enter_as(&mut gate, KEYS, PoolKind::Io, &with_cpu(KEYS));
        let through = gate.open(Tick(0));
        assert_eq!(numbers(&through), [KEYS]);
        through.into_iter().for_each(|(_, permit)| gate.give_back(permit));
    }
    assert_eq!(gate.len(), 9_999);
}

#[test]
fn a_start_costs_as_many_looks_as_lines_have_something_new() {
    let mut gate = Gate::new(Capacity::default());
    for _ in 0..3 {
        (0..KEYS).for_each(|key| enter_as(&mut gate, key, PoolKind::Io, &keyed(key)));
    }
    let mut running = std::collections::VecDeque::from(gate.open(Tick(0)));
    assert_eq!((running.len(), gate.probes), (10_000, 20_000), "each start, and the new head of each line");
    let mut left = 20_000;
    while let Some((_, permit)) = running.pop_front() {
        gate.give_back(permit);
        gate.probes = 0;
        running.extend(gate.open(Tick(0)));
        assert!(gate.probes <= 2, "{} probes", gate.probes);
        left -= i32::from(gate.probes > 0);
    }
    assert!(gate.is_empty() && left == 0);
}

#[test]
fn a_rate_is_looked_at_when_its_time_has_come() {
    let mut gate = Gate::new(Capacity::default());
    for _ in 0..2 {
        (0..KEYS).for_each(|key| enter_as(&mut gate, key, PoolKind::Io, &rated(key)));
    }
    for key in 0..KEYS {
        gate.open(Tick(u64::from(key)));
    }
    gate.probes = 0;
    for round in 0..KEYS {
        let at = gate.next().expect("one waits");
        assert_eq!(at, Tick(1_000_000_000).max(at));
        let through = gate.open(at);
        assert!(!through.is_empty(), "it was worth the while in round {round}");
        if gate.is_empty() {
            break;
        }
    }
    assert!(gate.is_empty() && gate.probes <= 10_000, "{} probes", gate.probes);
}

/// A key for all and a rate for each host, and the other way round.
#[test]
fn who_waits_for_one_key_or_one_rate_is_looked_at_one_by_one() {
    let all = |mut limits: Limits| {
        if limits.rate.is_some() {
            limits.concurrency = Some(Concurrency { key: "all".into(), max: 5 });
        } else {
            limits.rate = Some(Rate::per_second("all", 10));
        }
        limits
    };
    for make in [keyed, rated] {
        let mut gate = Gate::new(Capacity::default());
        (0..KEYS).for_each(|key| enter_as(&mut gate, key, PoolKind::Io, &all(make(key))));
        let (mut now, mut running, mut order) = (Tick(0), std::collections::VecDeque::new(), Vec::new());
        loop {
            let through = gate.open(now);
            order.extend(numbers(&through));
            running.extend(through);
            match running.pop_front() {
                Some((_, permit)) => gate.give_back(permit),
                None => match gate.next() {
                    Some(at) => now = at,
                    None => break,
                },
            }
        }
        assert_eq!(order, (0..KEYS).collect::<Vec<_>>());
        assert!(gate.probes <= u64::from(2 * KEYS), "{} probes", gate.probes);
        assert!(gate.is_whole() && gate.is_empty());
    }
}

#[test]
fn who_waits_for_what_all_share_is_looked_at_once_for_each_demand() {
    let mut gate = Gate::new(Capacity { cpu: Some(percent(100.0)), ..Capacity::default() });
    let limits = |key| Limits { needs: needs(1, 10.0, 0.0), ..keyed(key) };
    (0..KEYS).for_each(|key| enter_as(&mut gate, key, PoolKind::Io, &limits(key)));
    let (mut running, mut order) = (std::collections::VecDeque::new(), Vec::new());
    loop {
        let through = gate.open(Tick(0));
        order.extend(numbers(&through));
        running.extend(through);
        let Some((_, permit)) = running.pop_front() else { break };
        gate.give_back(permit);
    }
    assert_eq!(order, (0..KEYS).collect::<Vec<_>>());
    assert!(gate.probes <= u64::from(5 * KEYS), "{} probes", gate.probes);
}

#[test]
fn l9_nothing_is_kept_of_keys_that_are_gone() {
    let mut gate = Gate::new(Capacity::default());
    for key in 0..KEYS {
        for limits in [keyed(key), rated(key)] {
            enter_as(&mut gate, 0, PoolKind::Io, &limits);
            enter_as(&mut gate, 1, PoolKind::Io, &limits);
        }
        let through = gate.open(Tick(u64::from(key) * 2_000_000_000));
        gate.remove(|what| *what == 1);
        through.into_iter().for_each(|(_, permit)| gate.give_back(permit));
    }
    gate.open(Tick(u64::MAX / 2));
    assert!(gate.is_whole() && gate.is_empty());
    gate.assert_empty();
}
