//! The health of the engine, derived from its status. `docs/reference/status.md` states these rules.

use std::collections::BTreeMap;

use crate::model::{ComponentStatus, Health, HealthReport, InputQueue, OutputQueue, PoolId, PoolStatus, Status};

/// The fullness from which a queue is degraded.
const NEARLY_FULL: f64 = 0.9;

/// The suffix of a pool's name in the name of its component.
pub const POOL_SUFFIX: &str = "_pool";

/// The components that are not pools.
const PARTS: [&str; 3] = ["input_queue", "output_queue", "process_pool"];

/// The names of all components of an engine with these pools, sorted.
#[must_use]
pub fn components(pools: impl IntoIterator<Item = PoolId>) -> Vec<String> {
    let pools = pools.into_iter().map(|pool| format!("{pool}{POOL_SUFFIX}"));
    let mut names: Vec<String> = PARTS.iter().map(|part| (*part).to_owned()).chain(pools).collect();
    names.sort_unstable();
    names
}

/// The health of each component and of the engine.
#[must_use]
pub fn report(status: &Status) -> HealthReport {
    let names = components(status.components.process_pool.pools.ids());
    let components: BTreeMap<_, _> =
        names.into_iter().filter_map(|name| Some((name.clone(), component(status, &name)?))).collect();
    let healthy_count = components.values().filter(|part| part.health == Health::Healthy).count();
    HealthReport {
        overall_health: components.values().map(|part| part.health).max().unwrap_or(Health::Healthy),
        healthy_count,
        unhealthy_count: components.len() - healthy_count,
        components,
    }
}

/// The health of a component, or `None` if there is no component with this name.
#[must_use]
pub fn component(status: &Status, name: &str) -> Option<ComponentStatus> {
    let parts = &status.components;
    let ((health, why), metrics) = match name {
        "input_queue" => (input_health(&parts.input_queue), serde_json::to_value(&parts.input_queue)),
        "output_queue" => (output_health(&parts.output_queue), serde_json::to_value(&parts.output_queue)),
        "process_pool" => {
            let worst = parts.process_pool.pools.values().map(pool).max_by_key(|(health, _)| *health);
            (worst.unwrap_or((Health::Healthy, None)), serde_json::to_value(&parts.process_pool))
        }
        name => {
            let pool = name.strip_suffix(POOL_SUFFIX)?;
            let (_, pool) = parts.process_pool.pools.iter().find(|(id, _)| id.name() == pool)?;
            (self::pool(pool), serde_json::to_value(pool))
        }
    };
    Some(ComponentStatus { name: name.to_owned(), health, why, metrics: metrics.unwrap_or_default() })
}

/// The health of a component, and the reason if it is not healthy.
pub type Assessment = (Health, Option<String>);

/// The health of a pool, and the reason if it is not healthy.
#[must_use]
pub fn pool(pool: &PoolStatus) -> Assessment {
    let (ready, target) = (pool.ready, pool.target);
    if let Some(why) = &pool.unavailable {
        return (Health::Unhealthy, Some(why.clone()));
    }
    match &pool.breaker {
        Some(why) if ready == 0 => return (Health::Unhealthy, Some(why.clone())),
        Some(why) => return (Health::Degraded, Some(why.clone())),
        None => {}
    }
    // A pool that grows beyond its minimum works meanwhile with what it has.
    let needed = if pool.waiting > 0 { pool.least.max(1) } else { pool.least };
    match ready {
        _ if ready >= needed => (Health::Healthy, None),
        0 => (Health::Starting, Some(format!("none of its {target} workers is ready yet"))),
        _ => (Health::Starting, Some(format!("{ready} of its {target} workers are ready"))),
    }
}

fn input_health(queue: &InputQueue) -> Assessment {
    if let Some(overload) = &queue.overload {
        return (Health::Unhealthy, Some(format!("tasks are refused: {overload}")));
    }
    let bytes = fullness(queue.bytes, queue.max_bytes);
    let (fullest, key) =
        if queue.fullness >= bytes { (queue.fullness, "input_queue_size") } else { (bytes, "input_queue_bytes") };
    if fullest >= 1.0 {
        (Health::Unhealthy, Some(format!("it is full: tasks are refused (`{key}`)")))
    } else if fullest >= NEARLY_FULL {
        (Health::Degraded, Some(format!("it is {:.0} % full (`{key}`)", fullest * 100.0)))
    } else {
        (Health::Healthy, None)
    }
}

/// A full output queue is normal, because the oldest records are dropped. The queue is degraded if a few records fill
/// it, because then no record stays for long.
fn output_health(queue: &OutputQueue) -> Assessment {
    if fullness(queue.bytes, queue.max_bytes) >= NEARLY_FULL && queue.fullness < 0.1 {
        let words = format!("{} records hold all the bytes they may (`output_queue_bytes`)", queue.size);
        return (Health::Degraded, Some(words));
    }
    (Health::Healthy, None)
}

/// One number divided by another; 0 if the other is 0.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share")]
pub fn fullness(size: usize, most: usize) -> f64 {
    if most == 0 { 0.0 } else { size as f64 / most as f64 }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Components, ContainmentKind, EngineStatus, HostLoad, ProcessPool, TaskCounts};

    fn gpu() -> PoolId {
        PoolId::named("gpu").expect("a name")
    }

    fn pool(target: usize, ready: usize) -> PoolStatus {
        PoolStatus { target, ready, least: target, most: 4, ..PoolStatus::default() }
    }

    fn status(cpu: PoolStatus, io: PoolStatus, waiting: usize) -> Status {
        let cpu = PoolStatus { waiting, ..cpu };
        let queue = InputQueue {
            size: waiting,
            maxsize: 100,
            fullness: fullness(waiting, 100),
            bytes: 0,
            max_bytes: 1000,
            held_back: 0,
            cpu_bound: waiting,
            io_bound: 0,
            total_put: 7,
            total_dropped: 0,
            overload: None,
        };
        let records = OutputQueue {
            size: 0,
            maxsize: 10,
            fullness: 0.0,
            bytes: 0,
            max_bytes: 10,
            total_put: 0,
            total_dropped: 0,
            total_trimmed: 0,
        };
        let pools = [(PoolId::CPU, cpu), (PoolId::IO, io), (gpu(), pool(1, 1))];
        let processes = ProcessPool::new(pools.into_iter().collect(), 0);
        Status {
            at: Timestamp::UNIX_EPOCH,
            engine: EngineStatus {
                is_running: true,
                kind: "parallel",
                uptime_seconds: 1.0,
                host: HostLoad::default(),
                containment: ContainmentKind::Marks,
            },
            components: Components {
                input_queue: queue,
                output_queue: records,
                process_pool: processes,
                tasks: TaskCounts::default(),
            },
        }
    }

    #[test]
    fn c1_3_an_engine_with_all_its_workers_is_healthy() {
        let report = report(&status(pool(1, 1), pool(0, 0), 10));
        assert_eq!((report.overall_health.value(), report.healthy_count, report.unhealthy_count), ("healthy", 6, 0));
        assert_eq!(report.components["input_queue"].metrics["fullness"], 0.1);
        let names = ["cpu_pool", "gpu_pool", "input_queue", "io_pool", "output_queue", "process_pool"];
        assert!(report.components.keys().eq(names), "{:?}", report.components.keys());
    }

    #[test]
    fn a_pool_is_as_well_as_the_workers_it_has() {
        let breaker = || Some("they die too often".to_owned());
        let cases = [
            (pool(2, 2), Health::Healthy),
            (pool(2, 1), Health::Starting),
            (pool(2, 0), Health::Starting),
            (PoolStatus { target: 3, ..pool(2, 2) }, Health::Healthy), // it grows
            (pool(0, 0), Health::Healthy),
            (PoolStatus { breaker: breaker(), ..pool(2, 1) }, Health::Degraded),
            (PoolStatus { breaker: breaker(), ..pool(2, 0) }, Health::Unhealthy),
            (PoolStatus { unavailable: breaker(), ..pool(2, 0) }, Health::Unhealthy),
        ];
        for (cpu, expected) in cases {
            let status = status(cpu.clone(), pool(1, 1), 0);
            let part = component(&status, "cpu_pool").expect("there is one");
            assert_eq!(part.health, expected, "{cpu:?}");
            assert_eq!(part.why.is_none(), expected == Health::Healthy);
            assert_eq!(component(&status, "process_pool").map(|it| it.health), Some(expected));
            assert_eq!(report(&status).overall_health, expected);
        }
        let waits = status(pool(0, 0), pool(1, 1), 3);
        assert_eq!(
            component(&waits, "cpu_pool").map(|it| it.health),
            Some(Health::Starting),
            "its first is on its way"
        );
        assert_eq!(component(&waits, "gpu_pool").map(|it| it.health), Some(Health::Healthy));
        assert_eq!((component(&waits, "tpu_pool"), component(&waits, "gpu")), (None, None));
    }

    #[test]
    fn a_queue_that_refuses_is_not_well_and_one_that_soon_will_says_so() {
        let of = |status: &Status| component(status, "input_queue").map(|it| (it.health, it.why));
        for (size, health) in [(89, Health::Healthy), (90, Health::Degraded), (100, Health::Unhealthy)] {
            let (found, why) = of(&status(pool(1, 1), pool(1, 1), size)).expect("there is one");
            assert_eq!(found, health);
            assert!(why.is_none_or(|why| why.contains("input_queue_size")));
        }
        let mut heavy = status(pool(1, 1), pool(1, 1), 1);
        heavy.components.input_queue.bytes = 1000;
        assert!(
            of(&heavy)
                .is_some_and(|(health, why)| health == Health::Unhealthy && why.is_some_and(|it| it.contains("bytes")))
        );
        let mut busy = status(pool(1, 1), pool(1, 1), 1);
        busy.components.input_queue.overload = Some("hot".into());
        assert!(of(&busy).is_some_and(|(health, _)| health == Health::Unhealthy));
        let mut fat = status(pool(1, 1), pool(1, 1), 1);
        fat.components.output_queue.bytes = 10;
        assert_eq!(component(&fat, "output_queue").map(|it| it.health), Some(Health::Degraded));
    }
}
