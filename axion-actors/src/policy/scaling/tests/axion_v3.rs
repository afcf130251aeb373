//! Every row of `axion-v3` at, just below and just above its thresholds; every cooldown; every line.

use std::collections::VecDeque;

use super::super::axion_v3::velocity;
use super::*;

const QUIET: &[usize] = &[0, 0];

/// Shows a scaler four earlier loads (tasks by worker, two seconds apart) at which it can do nothing, and then this
/// one. The velocity is then (fourth + this − first − second) / 24.
fn after(kind: PoolKind, least: u32, before: [&[usize]; 4], seen: &PoolLoad) -> Decision {
    let mut scaler = Scaler::new(kind.into(), kind, ScalingPolicy::AxionV3, WorkerBounds { least, most: 16 });
    let mut now = 0;
    for loads in before {
        let running: Vec<(usize, usize)> = loads.iter().map(|running| (*running, 0)).collect();
        // The starting workers use up the maximum, and no worker is above the minimum.
        let full = PoolLoad { starting: 16, ..load(0, &running, 0.9) };
        assert_eq!(scaler.decide(&full, ms(now)).verdict, ScalingStep::Stay);
        now += 2000;
    }
    scaler.decide(seen, ms(now))
}

/// The reason of the step that a load leads to at velocity 0 or below, with `!` for an emergency and `-` for a shrink.
fn at_once(kind: PoolKind, least: u32, seen: &PoolLoad) -> String {
    words(Scaler::new(kind.into(), kind, ScalingPolicy::AxionV3, WorkerBounds { least, most: 16 }).decide(seen, ms(0)))
}

fn words(decision: Decision) -> String {
    match decision.verdict {
        ScalingStep::Stay => "stay".into(),
        ScalingStep::Grow { by: 2, emergency: true, rule } => format!("!{rule}"),
        ScalingStep::Grow { by: 1, emergency: false, rule } => rule.to_string(),
        ScalingStep::Shrink { by: 1, rule } => format!("-{rule}"),
        other => panic!("{other:?}"),
    }
}

fn check(kind: PoolKind, cases: &[(&str, u32, PoolLoad, &str)]) {
    for (name, least, seen, expected) in cases {
        assert_eq!(at_once(kind, *least, seen), *expected, "{kind} row {name}");
    }
}

/// Workers with equal loads, except the first.
fn first_and_rest(first: (usize, usize), rest: (usize, usize), count: usize) -> Vec<(usize, usize)> {
    std::iter::once(first).chain(std::iter::repeat_n(rest, count - 1)).collect()
}

#[test]
fn cpu_rows_without_velocity() {
    let even = [(1, 0), (1, 0)];
    let peak = |most: usize, cpu| load(0, &first_and_rest((1, most - 1), (1, 0), 5), cpu);
    check(
        PoolKind::Cpu,
        &[
            ("1 at", 2, load(400, &even, 0.5), "!QUEUE PRESSURE: 100 tasks/worker (queue=400)"),
            ("1 below", 2, load(399, &even, 0.5), "stay"),
            ("1 above", 2, load(404, &even, 0.5), "!QUEUE PRESSURE: 101 tasks/worker (queue=404)"),
            ("1 in workers", 2, load(0, &[(0, 100), (0, 100)], 0.0), "!QUEUE PRESSURE: 100 tasks/worker (queue=0)"),
            ("1 in workers, below", 1, load(0, &[(0, 99), (0, 99)], 0.0), "SUSTAINED: avg=99.0, 99 tasks/worker"),
            ("2 at", 5, peak(10, 0.90), "!OVERLOAD: max=10, cpu=0.90"),
            ("2 below in load", 5, peak(9, 0.90), "stay"),
            ("2 below in cpu", 5, peak(10, 0.89), "stay"),
            ("2 above", 5, peak(11, 0.91), "!OVERLOAD: max=11, cpu=0.91"),
            ("5 at", 2, load(0, &[(6, 0), (1, 0)], 0.75), "HIGH: p75=6.0, cpu=0.75"),
            ("5 below in p75", 2, load(0, &[(5, 0), (1, 0)], 0.75), "stay"),
            ("5 below in cpu", 2, load(0, &[(6, 0), (1, 0)], 0.74), "stay"),
            ("5 above", 2, load(0, &[(7, 0), (1, 0)], 0.76), "HIGH: p75=7.0, cpu=0.76"),
            ("5, of four, the last", 4, load(0, &[(6, 0), (1, 0), (1, 0), (1, 0)], 0.8), "HIGH: p75=6.0, cpu=0.80"),
            ("5, of five", 5, load(0, &[(9, 0), (6, 0), (1, 0), (1, 0), (1, 0)], 0.8), "HIGH: p75=6.0, cpu=0.80"),
            ("6 at", 2, load(80, &[(4, 0), (3, 0)], 0.5), "SUSTAINED: avg=3.5, 20 tasks/worker"),
            ("6 below in load", 2, load(80, &[(3, 0), (3, 0)], 0.5), "stay"),
            ("6 below in pending", 2, load(79, &[(4, 0), (3, 0)], 0.5), "stay"),
            ("6 above", 2, load(84, &[(4, 0), (4, 0)], 0.5), "SUSTAINED: avg=4.0, 21 tasks/worker"),
        ],
    );
}

// Numbers of tasks are whole: a maximum below 1.8 is at most 1, and so is the mean.
#[test]
fn cpu_row_7_needs_every_one_of_its_conditions() {
    let idle = [(1, 0), (0, 0)];
    check(
        PoolKind::Cpu,
        &[
            ("7", 1, load(0, &idle, 0.2), "-SCALE IN: avg=0.5, cpu=0.20"),
            ("7 all at one", 1, load(0, &[(1, 0), (1, 0)], 0.2), "-SCALE IN: avg=1.0, cpu=0.20"),
            ("7 mean and max", 1, load(0, &[(2, 0), (1, 0)], 0.2), "stay"),
            ("7 max alone", 1, load(0, &[(2, 0), (0, 0), (0, 0)], 0.2), "stay"),
            ("7 cpu below", 1, load(0, &idle, 0.24), "-SCALE IN: avg=0.5, cpu=0.24"),
            ("7 cpu at", 1, load(0, &idle, 0.25), "stay"),
            ("7 pending below", 0, load(7, &[(0, 1)], 0.2), "-SCALE IN: avg=1.0, cpu=0.20"),
            ("7 pending at", 0, load(8, &[(0, 1)], 0.2), "stay"),
            ("7 waiting below", 1, load(9, &idle, 0.2), "-SCALE IN: avg=0.5, cpu=0.20"),
            ("7 waiting at", 1, load(10, &idle, 0.2), "stay"),
            ("7 at the minimum", 2, load(0, &idle, 0.2), "stay"),
        ],
    );
    let still = after(PoolKind::Cpu, 1, [&[1], &[1], &[1], &[1]], &load(0, &[(1, 0), (1, 0)], 0.2));
    assert_eq!(words(still), "-SCALE IN: avg=1.0, cpu=0.20", "velocity 0");
    let rising = after(PoolKind::Cpu, 1, [&[0], &[0], &[0], &[0]], &load(0, &idle, 0.2));
    assert_eq!(words(rising), "stay", "velocity above 0");
}

#[test]
fn io_rows_without_velocity() {
    let even = [(1, 0), (1, 0)];
    let peak = |most| load(0, &first_and_rest((most, 0), (0, 0), 11), 0.0);
    check(
        PoolKind::Io,
        &[
            ("1 at", 2, load(800, &even, 0.5), "!QUEUE PRESSURE: 200 tasks/worker (queue=800)"),
            ("1 below", 2, load(799, &even, 0.5), "stay"),
            ("1 above", 2, load(804, &even, 0.5), "!QUEUE PRESSURE: 201 tasks/worker (queue=804)"),
            ("2 at, load", 11, peak(50), "!OVERLOAD: max=50, queue=0.0"),
            ("2 below, load", 11, peak(49), "stay"),
            ("2 above, load", 11, peak(51), "!OVERLOAD: max=51, queue=0.0"),
            ("2 at, queue", 2, load(0, &[(0, 40), (0, 40)], 0.0), "!OVERLOAD: max=40, queue=40.0"),
            ("2 below, queue", 2, load(0, &[(0, 40), (0, 39)], 0.0), "HIGH: p90=40.0, queue=39.5"),
            ("2 above, queue", 2, load(0, &[(0, 41), (0, 40)], 0.0), "!OVERLOAD: max=41, queue=40.5"),
            ("5 at, load", 2, load(0, &[(35, 0), (0, 0)], 0.0), "HIGH: p90=35.0, queue=0.0"),
            ("5 below, load", 2, load(0, &[(34, 0), (0, 0)], 0.0), "stay"),
            ("5 above, load", 2, load(0, &[(36, 0), (0, 0)], 0.0), "HIGH: p90=36.0, queue=0.0"),
            ("5 at, queue", 2, load(0, &[(0, 20), (0, 20)], 0.0), "HIGH: p90=20.0, queue=20.0"),
            ("5 below, queue", 2, load(0, &[(0, 20), (0, 19)], 0.0), "stay"),
            ("5 above, queue", 2, load(0, &[(0, 21), (0, 20)], 0.0), "HIGH: p90=21.0, queue=20.5"),
            ("6 at", 2, load(200, &[(20, 0), (20, 0)], 0.5), "SUSTAINED: avg=20.0, 50 tasks/worker"),
            ("6 below in load", 2, load(200, &[(20, 0), (19, 0)], 0.5), "stay"),
            ("6 below in pending", 2, load(199, &[(20, 0), (20, 0)], 0.5), "stay"),
            ("6 above", 2, load(204, &[(21, 0), (20, 0)], 0.5), "SUSTAINED: avg=20.5, 51 tasks/worker"),
        ],
    );
}

#[test]
fn io_row_7_needs_every_one_of_its_conditions() {
    let idle = [(1, 0), (0, 0)];
    check(
        PoolKind::Io,
        &[
            ("7", 1, load(0, &idle, 0.9), "-SCALE IN: avg=0.5, queue=0.0"),
            ("7 mean below", 1, load(0, &[(8, 0), (7, 0)], 0.9), "-SCALE IN: avg=7.5, queue=0.0"),
            ("7 mean at", 1, load(0, &[(8, 0), (8, 0)], 0.9), "stay"),
            ("7 queue below", 1, load(0, &[(0, 3), (0, 2)], 0.9), "-SCALE IN: avg=2.5, queue=2.5"),
            ("7 queue at", 1, load(0, &[(0, 3), (0, 3)], 0.9), "stay"),
            ("7 pending below", 0, load(17, &[(0, 1)], 0.9), "-SCALE IN: avg=1.0, queue=1.0"),
            ("7 pending at", 0, load(18, &[(0, 1)], 0.9), "stay"),
            ("7 waiting below", 1, load(19, &idle, 0.9), "-SCALE IN: avg=0.5, queue=0.0"),
            ("7 waiting at", 1, load(20, &idle, 0.9), "stay"),
            ("7 at the minimum", 2, load(0, &idle, 0.9), "stay"),
        ],
    );
    let rising = after(PoolKind::Io, 1, [&[0], &[0], &[0], &[0]], &load(0, &idle, 0.2));
    assert_eq!(words(rising), "stay", "velocity above 0");
}

#[test]
fn rows_3_and_4_need_their_velocity() {
    let one_each = [(1, 0), (1, 0)];
    // Kind, the fourth load, the present load, and the expected step.
    let cases: [(PoolKind, &[usize], PoolLoad, &str); 20] = [
        (PoolKind::Cpu, &[59, 59], load(200, &one_each, 0.5), "RISING QUEUE: 50 tasks/worker, velocity=2.50"),
        (PoolKind::Cpu, &[59, 58], load(200, &one_each, 0.5), "stay"),
        (PoolKind::Cpu, &[59, 59], load(199, &one_each, 0.5), "stay"),
        (PoolKind::Cpu, &[61, 61], load(204, &one_each, 0.5), "RISING QUEUE: 51 tasks/worker, velocity=2.58"),
        (PoolKind::Cpu, &[117, 116], load(0, &[(4, 0), (3, 0)], 0.5), "RISING LOAD: avg=3.5, velocity=5.00"),
        (PoolKind::Cpu, &[116, 116], load(0, &[(4, 0), (3, 0)], 0.5), "stay"),
        (PoolKind::Cpu, &[117, 117], load(0, &[(3, 0), (3, 0)], 0.5), "stay"),
        (PoolKind::Cpu, &[118, 118], load(0, &[(4, 0), (4, 0)], 0.5), "RISING LOAD: avg=4.0, velocity=5.08"),
        // Both rows match: the first decides.
        (PoolKind::Cpu, &[117, 116], load(200, &[(4, 0), (3, 0)], 0.5), "RISING QUEUE: 50 tasks/worker, velocity=5.00"),
        (
            PoolKind::Cpu,
            &[117, 116],
            load(400, &[(4, 0), (3, 0)], 0.5),
            "!QUEUE PRESSURE: 100 tasks/worker (queue=400)",
        ),
        (PoolKind::Io, &[59, 59], load(400, &one_each, 0.5), "RISING QUEUE: 100 tasks/worker, velocity=2.50"),
        (PoolKind::Io, &[59, 58], load(400, &one_each, 0.5), "stay"),
        (PoolKind::Io, &[59, 59], load(399, &one_each, 0.5), "stay"),
        (PoolKind::Io, &[61, 61], load(404, &one_each, 0.5), "RISING QUEUE: 101 tasks/worker, velocity=2.58"),
        (PoolKind::Io, &[100, 100], load(0, &[(20, 0), (20, 0)], 0.5), "RISING LOAD: avg=20.0, velocity=5.00"),
        (PoolKind::Io, &[100, 99], load(0, &[(20, 0), (20, 0)], 0.5), "stay"),
        (PoolKind::Io, &[101, 101], load(0, &[(20, 0), (19, 0)], 0.5), "stay"),
        (PoolKind::Io, &[102, 102], load(0, &[(20, 0), (20, 0)], 0.5), "RISING LOAD: avg=20.0, velocity=5.08"),
        (
            PoolKind::Io,
            &[100, 100],
            load(400, &[(20, 0), (20, 0)], 0.5),
            "RISING QUEUE: 100 tasks/worker, velocity=5.00",
        ),
        (PoolKind::Io, &[100, 100], load(0, &[(35, 0), (5, 0)], 0.5), "RISING LOAD: avg=20.0, velocity=5.00"),
    ];
    for (at, (kind, fourth, seen, expected)) in cases.into_iter().enumerate() {
        assert_eq!(words(after(kind, 2, [QUIET, QUIET, QUIET, fourth], &seen)), expected, "case {at}");
    }
}

#[test]
fn the_velocity_of_the_known_case_is_0_375_and_unknown_below_five_samples() {
    let samples = [1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 7.5];
    assert!((velocity(&VecDeque::from(samples)) - 0.375).abs() < 1e-12);
    assert_eq!(velocity(&samples[3..].iter().copied().collect()), 0.0);
    assert!(velocity(&samples[2..].iter().copied().collect()) > 0.0);
}

#[test]
fn the_history_holds_eight_samples() {
    // Eleven samples: three of 200, seven of 0, and 105. Of the last eight, the velocity is 105 / 3 / 14.
    let mut scaler =
        Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::AxionV3, WorkerBounds { least: 2, most: 16 });
    let mut look = |running: usize, waiting, starting, n: u64| {
        let seen = PoolLoad { starting, ..load(waiting, &[(running, 0), (running, 0)], 0.5) };
        words(scaler.decide(&seen, ms(2000 * n)))
    };
    for n in 0..3 {
        assert_eq!(look(200, 0, 16, n), "stay");
    }
    for n in 3..10 {
        assert_eq!(look(0, 0, 16, n), "stay");
    }
    assert_eq!(look(105, 200, 0, 10), "RISING QUEUE: 50 tasks/worker, velocity=2.50");
}

#[test]
fn the_lines_are_those_of_the_older_engine() {
    let line = |kind: PoolKind, least, seen: &PoolLoad| {
        Scaler::new(kind.into(), kind, ScalingPolicy::AxionV3, WorkerBounds { least, most: 24 })
            .decide(seen, ms(0))
            .line
    };
    assert_eq!(
        line(PoolKind::Cpu, 1, &load(10_000, &[(0, 0), (0, 0)], 0.0)).as_deref(),
        Some("[CPU] Scale OUT +2 → 4 workers | QUEUE PRESSURE: 2500 tasks/worker (queue=10000)")
    );
    assert_eq!(
        line(PoolKind::Io, 1, &load(0, &[(13, 22); 7], 0.0)).as_deref(),
        Some("[IO] Scale OUT +1 → 8 workers | HIGH: p90=35.0, queue=22.0")
    );
    assert_eq!(
        line(PoolKind::Cpu, 1, &load(0, &[(1, 0), (1, 0), (1, 0), (0, 0)], 0.15)).as_deref(),
        Some("[CPU] Scale IN -1 → 3 workers | SCALE IN: avg=0.8, cpu=0.15")
    );
    let gpu = PoolId::named("gpu").expect("a name");
    let bounds = WorkerBounds { least: 1, most: 24 };
    let mut named = Scaler::new(gpu, PoolKind::Cpu, ScalingPolicy::AxionV3, bounds);
    assert_eq!(
        named.decide(&load(10_000, &[(0, 0), (0, 0)], 0.0), ms(0)).line.as_deref(),
        Some("[GPU] Scale OUT +2 → 4 workers | QUEUE PRESSURE: 2500 tasks/worker (queue=10000)")
    );
}

#[test]
fn a_growth_is_cut_to_the_maximum_and_at_the_maximum_it_is_none() {
    let mut scaler =
        Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::AxionV3, WorkerBounds { least: 1, most: 3 });
    let pressed = load(5000, &[(1, 0), (1, 0)], 0.5);
    let decision = scaler.decide(&pressed, ms(0));
    assert!(decision.line.is_some_and(|line| line.starts_with("[CPU] Scale OUT +1 → 3 workers | QUEUE")));
    let full = PoolLoad { starting: 1, ..pressed };
    let decision = scaler.decide(&full, ms(4000));
    let nothing = Decision { look_again: Some(ms(6000)), ..Decision::default() };
    assert_eq!(decision, nothing, "no line, and no emergency that hastens the next look");
}

/// Checks at the given milliseconds, with loads that lead to these steps, and returns the steps that were taken.
fn steps(looks: &[(u64, char)]) -> String {
    let mut scaler = Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::AxionV3, BOUNDS);
    let step = |&(at, wanted): &(u64, char)| {
        let seen = match wanted {
            '!' => load(5000, &[(1, 0), (1, 0)], 0.5),
            '+' => load(0, &[(9, 0), (9, 0)], 0.8),
            _ => load(0, &[(0, 0), (0, 0)], 0.0),
        };
        match scaler.decide(&seen, ms(at)).verdict {
            ScalingStep::Stay => '.',
            ScalingStep::Grow { emergency: true, .. } => '!',
            ScalingStep::Grow { .. } => '+',
            ScalingStep::Shrink { .. } => '-',
        }
    };
    looks.iter().map(step).collect()
}

#[test]
fn cooldowns() {
    // Emergencies are 3 s apart.
    assert_eq!(steps(&[(0, '!'), (1000, '!'), (3000, '!'), (4000, '!'), (6000, '!')]), "!.!.!");
    assert_eq!(steps(&[(0, '!'), (2999, '!')]), "!.");
    assert_eq!(steps(&[(0, '!'), (3000, '!')]), "!!");
    // Normal steps are 8 s apart, growing or shrinking.
    assert_eq!(steps(&[(0, '+'), (2000, '+'), (4000, '+'), (6000, '+'), (8000, '+')]), "+...+");
    assert_eq!(steps(&[(0, '+'), (7999, '+')]), "+.");
    assert_eq!(steps(&[(0, '-'), (7999, '-')]), "-.");
    assert_eq!(steps(&[(0, '-'), (8000, '-')]), "--");
    assert_eq!(steps(&[(0, '-'), (7999, '+')]), "-.");
    assert_eq!(steps(&[(0, '+'), (7999, '-')]), "+.");
    assert_eq!(steps(&[(0, '+'), (8000, '-')]), "+-");
    // No growth step of any kind within 3 s of another one. After that, each kind has its own cooldown.
    assert_eq!(steps(&[(0, '!'), (2999, '+')]), "!.");
    assert_eq!(steps(&[(0, '!'), (3000, '+')]), "!+");
    assert_eq!(steps(&[(0, '+'), (2999, '!')]), "+.");
    assert_eq!(steps(&[(0, '+'), (3000, '!')]), "+!");
    // A shrink is not a growth step: neither it nor an emergency waits for the other.
    assert_eq!(steps(&[(0, '-'), (2000, '!')]), "-!");
    assert_eq!(steps(&[(0, '!'), (1000, '-')]), "!-");
}

#[test]
fn it_looks_every_two_seconds_and_one_second_after_an_emergency() {
    let mut scaler = Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::AxionV3, BOUNDS);
    let (calm, pressed) = (load(0, &[(1, 0)], 0.5), load(5000, &[(1, 0)], 0.5));
    assert_eq!(scaler.decide(&calm, ms(0)).look_again, Some(ms(2000)));
    assert_eq!(scaler.decide(&pressed, ms(1999)).look_again, Some(ms(2000)), "an early call changes nothing");
    assert_eq!(scaler.decide(&pressed, ms(2000)).look_again, Some(ms(3000)));
    assert_eq!(scaler.decide(&calm, ms(3000)).look_again, Some(ms(5000)));
}

#[test]
fn early_calls_are_no_samples() {
    let mut scaler =
        Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::AxionV3, WorkerBounds { least: 2, most: 16 });
    for at in 0..100 {
        scaler.decide(&load(0, &[(0, 0), (0, 0)], 0.5), ms(at));
    }
    // With five samples or more, this would be a rising queue. It is the second sample.
    let decision = scaler.decide(&load(200, &[(120, 0), (120, 0)], 0.5), ms(2000));
    assert_eq!(words(decision), "SUSTAINED: avg=120.0, 50 tasks/worker");
}
