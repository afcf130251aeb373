//! The policies as cases, and the rules that hold for each of them over random loads.

mod axion_v3;
mod demand;

use proptest::prelude::*;

use super::*;

const BOUNDS: WorkerBounds = WorkerBounds { least: 1, most: 16 };

/// A moment, in milliseconds.
fn ms(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

/// A load: the waiting tasks, the running and queued tasks of each worker, and the CPU use of each worker.
fn load(waiting: usize, workers: &[(usize, usize)], cpu: f64) -> PoolLoad {
    let workers = workers.iter().map(|&(running, queued)| WorkerSample { running, queued, cpu }).collect();
    PoolLoad { waiting, workers, ..PoolLoad::default() }
}

fn grown(decision: &Decision) -> u32 {
    match decision.verdict {
        ScalingStep::Grow { by, .. } => by,
        _ => 0,
    }
}

fn shrunk(decision: &Decision) -> u32 {
    match decision.verdict {
        ScalingStep::Shrink { by, .. } => by,
        _ => 0,
    }
}

#[test]
fn switched_off_a_pool_gets_its_first_worker_on_demand_and_no_other() {
    let mut scaler = Scaler::new(PoolId::CPU, PoolKind::Cpu, ScalingPolicy::Off, WorkerBounds { least: 0, most: 4 });
    assert_eq!(scaler.decide(&load(0, &[], 0.0), ms(0)), Decision::default());
    let decision = scaler.decide(&load(3, &[], 0.0), ms(1));
    assert_eq!(decision.line.as_deref(), Some("[CPU] Scale OUT +1 → 1 workers | ON DEMAND: no worker (queue=3)"));
    assert_eq!(scaler.decide(&PoolLoad { starting: 1, ..load(3, &[], 0.0) }, ms(2)), Decision::default());
    assert_eq!(scaler.decide(&load(5000, &[(1, 0)], 1.0), ms(9000)), Decision::default());
}

#[test]
fn under_every_policy_an_empty_pool_gets_a_worker_as_soon_as_a_task_waits_unless_it_may_have_none() {
    for policy in ScalingPolicy::ALL {
        for (most, expected) in [(0, 0), (4, 1)] {
            let mut scaler = Scaler::new(PoolId::IO, PoolKind::Io, policy, WorkerBounds { least: 0, most });
            assert_eq!(grown(&scaler.decide(&load(0, &[], 0.0), ms(0))), 0, "{policy:?}");
            assert_eq!(grown(&scaler.decide(&load(1, &[], 0.0), ms(1))), expected, "{policy:?}, at most {most}");
        }
    }
}

#[test]
fn a_policy_that_looks_says_when_and_the_time_is_ahead() {
    for policy in [ScalingPolicy::AxionV3, ScalingPolicy::Demand] {
        let mut scaler = Scaler::new(PoolId::CPU, PoolKind::Cpu, policy, BOUNDS);
        let again = scaler.decide(&load(0, &[(0, 0)], 0.0), ms(500)).look_again;
        assert!(again.is_some_and(|at| at > ms(500)), "{policy:?}: {again:?}");
    }
}

/// A check of a random pool: the milliseconds since the last one, and the load.
fn looks() -> impl Strategy<Value = Vec<(u64, PoolLoad)>> {
    let worker = (0..30usize, 0..30usize, 0.0..1.0f64);
    let worker = worker.prop_map(|(running, queued, cpu)| WorkerSample { running, queued, cpu });
    let idle = Just(WorkerSample::default());
    let workers = prop_oneof![proptest::collection::vec(worker, 0..12), proptest::collection::vec(idle, 0..12),];
    let waiting = prop_oneof![Just(0usize), 0..20usize, 0..5000usize];
    let host = proptest::option::of(0.0..1.0f64);
    let seen = (waiting, workers, 0..4usize, host, 0..9usize, 1..3usize, 0..500u64);
    let look = (prop_oneof![0..400u64, 900..4000u64], seen).prop_map(|(after, seen)| {
        let (waiting, workers, starting, host_cpu, processors, slots, ended) = seen;
        (after, PoolLoad { waiting, workers, starting, host_cpu, processors, slots, ended })
    });
    proptest::collection::vec(look, 1..60).prop_map(|mut looks| {
        // The count of ended attempts only grows.
        let mut sum = 0;
        for (_, load) in &mut looks {
            sum += load.ended;
            load.ended = sum;
        }
        looks
    })
}

fn any_policy() -> impl Strategy<Value = (PoolKind, ScalingPolicy, WorkerBounds)> {
    let (kind, policy) = (0..2usize, 0..ScalingPolicy::ALL.len());
    (kind, policy, 0..4u32, 0..14u32).prop_map(|(kind, policy, least, more)| {
        (PoolKind::ALL[kind], ScalingPolicy::ALL[policy], WorkerBounds { least, most: least + more })
    })
}

proptest! {
    #[test]
    fn l9_no_verdict_leads_out_of_the_bounds_and_each_has_its_line((kind, policy, bounds) in any_policy(), looks in looks()) {
        let (mut scaler, mut now) = (Scaler::new(kind.into(), kind, policy, bounds), 0);
        for (after, load) in looks {
            now += after;
            let total = count(load.workers.len() + load.starting);
            let decision = scaler.decide(&load, ms(now));
            prop_assert_eq!(decision.verdict == ScalingStep::Stay, decision.line.is_none());
            match decision.verdict {
                ScalingStep::Stay => {}
                ScalingStep::Grow { by, .. } => prop_assert!(by > 0 && total + by <= bounds.most, "+{} on {}", by, total),
                ScalingStep::Shrink { by, .. } => {
                    prop_assert!(by > 0 && by <= count(load.workers.len()), "-{} of {:?}", by, load);
                    prop_assert!(total - by >= bounds.least, "-{} of {}", by, total);
                }
            }
        }
    }

    #[test]
    fn nothing_shrinks_while_more_waits_than_its_rules_allow((kind, policy, bounds) in any_policy(), looks in looks()) {
        let (mut scaler, mut now) = (Scaler::new(kind.into(), kind, policy, bounds), 0);
        let limit = match (policy, kind) {
            (ScalingPolicy::AxionV3, PoolKind::Cpu) => 10,
            (ScalingPolicy::AxionV3, PoolKind::Io) => 20,
            _ => 1,
        };
        for (after, load) in looks {
            now += after;
            let decision = scaler.decide(&load, ms(now));
            prop_assert!(shrunk(&decision) == 0 || load.waiting < limit, "{:?} at {:?}", decision, load);
        }
    }

    #[test]
    fn the_same_loads_at_the_same_times_bring_the_same_verdicts((kind, policy, bounds) in any_policy(), looks in looks()) {
        let mut scalers = [0, 1].map(|_| Scaler::new(kind.into(), kind, policy, bounds));
        let mut now = 0;
        for (after, load) in looks {
            now += after;
            let [one, other] = scalers.each_mut().map(|scaler| scaler.decide(&load, ms(now)));
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn axion_v3_never_grows_twice_within_3_s_nor_steps_twice_within_8_s_without_an_emergency(
        kind in 0..2usize,
        least in 0..3u32,
        looks in looks(),
    ) {
        let mut scaler = Scaler::new(PoolKind::ALL[kind].into(), PoolKind::ALL[kind], ScalingPolicy::AxionV3, WorkerBounds { least, most: 14 });
        let (mut now, mut last_growth, mut last_step) = (0, None, None);
        for (after, load) in looks {
            now += after;
            let on_demand = load.workers.is_empty() && load.starting == 0;
            let normal = match scaler.decide(&load, ms(now)).verdict {
                ScalingStep::Stay => continue,
                ScalingStep::Grow { emergency, .. } => {
                    prop_assert!(last_growth.is_none_or(|last| now - last >= 3000), "{:?} and {}", last_growth, now);
                    last_growth = Some(now);
                    !emergency && !on_demand
                }
                ScalingStep::Shrink { .. } => true,
            };
            if normal {
                prop_assert!(last_step.is_none_or(|last| now - last >= 8000), "{:?} and {}", last_step, now);
                last_step = Some(now);
            }
        }
    }
}
