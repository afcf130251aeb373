use super::*;
use crate::config::Config;
use crate::model::Generation;
use crate::model::ProcessExit;

const GENERATION_1: Generation = Generation(1);
const ON_DEMAND: ScalingRule = ScalingRule::OnDemand { waiting: 4 };
const QUIET: ScalingRule = ScalingRule::Quiet { needed: 1, window_seconds: 10.0 };

fn gpu() -> PoolId {
    PoolId::named("gpu").expect("a name")
}

/// Three pools with these bounds each.
fn pools(least: u32, most: u32) -> PoolMap<PoolSettings> {
    let template = Config::default().pool_settings()[PoolId::CPU].clone();
    let pool = |id, kind| (id, PoolSettings { kind, workers: WorkerBounds { least, most }, ..template.clone() });
    [pool(PoolId::CPU, PoolKind::Cpu), pool(PoolId::IO, PoolKind::Io), pool(gpu(), PoolKind::Cpu)].into_iter().collect()
}

fn supervisor(least: u32, most: u32) -> PoolSupervisor {
    PoolSupervisor::new(&pools(least, most), 2, Duration::from_secs(60))
}

fn worker(pool: PoolId, index: u32, generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId::local(pool, index), generation: Generation(generation) }
}

fn departure(reason: WorkerDownReason) -> Departure {
    Departure { reason, started: None, outputs: Vec::new(), post_mortem: None }
}

fn crash() -> Departure {
    departure(WorkerDownReason::Exited(ProcessExit::Signal(9)))
}

/// The actions since the last call in short, without those that only tell how a pool is.
fn told(supervisor: &mut PoolSupervisor) -> Vec<String> {
    let text = |action| match action {
        SupervisorAction::Launch { worker, cause } => {
            Some(format!("launch {}.{} {cause:?}", worker.id, worker.generation))
        }
        SupervisorAction::Retire { worker, cause } => {
            Some(format!("retire {}.{} {cause:?}", worker.id, worker.generation))
        }
        SupervisorAction::StartDelayed { slot, delay } => Some(format!("start {slot} after {delay:?}")),
        SupervisorAction::Joined { worker, .. } => Some(format!("joined {}.{}", worker.id, worker.generation)),
        SupervisorAction::Left { worker, .. } => Some(format!("left {}.{}", worker.id, worker.generation)),
        SupervisorAction::Shrink { pool, count } => Some(format!("shrink {pool} by {count}")),
        SupervisorAction::Target { pool, from, to, cause } => Some(format!("{pool}: {from} to {to}, {cause}")),
        SupervisorAction::Changed { .. } => None,
        SupervisorAction::Unavailable { pool, error } => Some(format!("{pool} unavailable: {error}")),
        SupervisorAction::StartFailed { worker, failure, .. } => Some(format!("{} failed: {failure}", worker.id)),
        SupervisorAction::BreakerOpened { pool, pause, .. } => Some(format!("{pool}: breaker open for {pause:?}")),
        SupervisorAction::BreakerClosed { by } => Some(format!("breaker closed by {}", by.id)),
        SupervisorAction::Stopped => Some("stopped".to_owned()),
    };
    supervisor.take_actions().into_iter().filter_map(text).collect()
}

fn all_ready(supervisor: &mut PoolSupervisor, pool: PoolId, count: u32) {
    (0..count).for_each(|index| supervisor.ready(worker(pool, index, 1), 7, Tick(0)));
    told(supervisor);
}

#[test]
fn every_pool_gets_its_workers_and_grows_by_itself() {
    let mut supervisor = supervisor(1, 3);
    supervisor.begin();
    let launched = ["cpu", "io", "gpu"].map(|pool| format!("launch {pool}-0.1 BelowTarget"));
    assert_eq!(told(&mut supervisor), launched);
    supervisor.set_target(gpu(), 9, ON_DEMAND);
    assert_eq!(
        told(&mut supervisor),
        ["gpu: 1 to 3, ON DEMAND: no worker (queue=4)", "launch gpu-1.1 BelowTarget", "launch gpu-2.1 BelowTarget"]
    );
    supervisor.require(PoolId::IO, 2);
    assert_eq!(told(&mut supervisor), ["io: 1 to 2, a task needs 2 workers", "launch io-1.1 BelowTarget"]);
}

#[test]
fn workers_that_are_not_ready_go_first_and_the_dispatcher_names_the_others() {
    let mut supervisor = supervisor(0, 3);
    supervisor.begin();
    supervisor.set_target(gpu(), 3, ON_DEMAND);
    all_ready(&mut supervisor, gpu(), 2);
    supervisor.set_target(gpu(), 1, QUIET);
    let shrunk = ["gpu: 3 to 1, QUIET: 1 needed in the last 10 s", "retire gpu-2.1 AboveTarget", "shrink gpu by 1"];
    assert_eq!(told(&mut supervisor), shrunk);
    // Nothing is asked twice, and the answer ends the wait.
    supervisor.set_target(gpu(), 0, QUIET);
    assert_eq!(told(&mut supervisor), ["gpu: 1 to 0, QUIET: 1 needed in the last 10 s"]);
    supervisor.release(gpu(), &[worker(gpu(), 0, 1)]);
    assert_eq!(told(&mut supervisor), ["shrink gpu by 1"]);
    supervisor.release(gpu(), &[worker(gpu(), 1, 1)]);
    assert_eq!(told(&mut supervisor), Vec::<String>::new());
}

#[test]
fn a_worker_that_dies_is_replaced_and_the_cause_names_the_one_before() {
    let mut supervisor = supervisor(1, 1);
    supervisor.begin();
    all_ready(&mut supervisor, gpu(), 1);
    supervisor.down(worker(gpu(), 0, 1), crash(), true, Tick(1));
    let replaced = format!("launch gpu-0.2 {:?}", LaunchCause::Replacement { of: GENERATION_1 });
    assert_eq!(told(&mut supervisor), ["left gpu-0.1".to_owned(), replaced]);
    // L3: what an earlier one says changes nothing.
    supervisor.ready(worker(gpu(), 0, 1), 7, Tick(2));
    supervisor.recycle(worker(gpu(), 0, 1), RecycleCause::Tasks { taken: 1, limit: 1 });
    assert_eq!(told(&mut supervisor), Vec::<String>::new());
}

#[test]
fn the_successor_of_a_recycled_worker_is_started_first_and_says_why() {
    let mut supervisor = supervisor(1, 1);
    supervisor.begin();
    all_ready(&mut supervisor, gpu(), 1);
    let reason = RecycleCause::Memory { resident: 9, limit: 5 };
    supervisor.recycle(worker(gpu(), 0, 1), reason);
    assert_eq!(told(&mut supervisor), [format!("launch gpu-0.2 {:?}", LaunchCause::Recycling(reason))]);
    supervisor.ready(worker(gpu(), 0, 2), 8, Tick(1));
    supervisor.down(worker(gpu(), 0, 1), departure(WorkerDownReason::Retired), true, Tick(2));
    assert_eq!(told(&mut supervisor), ["joined gpu-0.2", "left gpu-0.1"]);
}

#[test]
fn a_breaker_and_a_pool_that_cannot_start_leave_the_other_pools_alone() {
    let mut supervisor = supervisor(1, 1);
    supervisor.begin();
    all_ready(&mut supervisor, PoolId::CPU, 1);
    told(&mut supervisor);
    let refused = || departure(WorkerDownReason::StartFailed { definite: true, message: "no torch".to_owned() });
    supervisor.down(worker(gpu(), 0, 1), refused(), false, Tick(1));
    let expected = [
        "gpu-0 failed: no torch",
        "gpu unavailable: worker_start_failed: the gpu pool is unhealthy: no worker can be started: no torch",
        "start gpu-0 after 100ms",
    ];
    assert_eq!(told(&mut supervisor), expected);
    for generation in 1..=3 {
        supervisor.down(worker(PoolId::CPU, 0, generation), crash(), true, Tick(2));
        supervisor.ready(worker(PoolId::CPU, 0, generation + 1), 7, Tick(3));
    }
    let told = told(&mut supervisor);
    assert!(told.contains(&"cpu: breaker open for 1s".to_owned()), "{told:?}");
    assert!(told.iter().any(|it| it.starts_with("cpu unavailable")), "it has no worker: {told:?}");
    let closed = |pool| supervisor.breaker(pool) == Some(BreakerState::Closed);
    assert!(closed(gpu()) && closed(PoolId::IO) && !closed(PoolId::CPU));
}

#[test]
fn a_delayed_start_is_due_at_its_tick_and_never_while_the_engine_ends() {
    let mut supervisor = supervisor(1, 1);
    supervisor.begin();
    let failed = || departure(WorkerDownReason::StartFailed { definite: false, message: "no fork".to_owned() });
    let starts = |supervisor: &mut PoolSupervisor| {
        told(supervisor)
            .into_iter()
            .filter(|it| it.starts_with("launch") || it.starts_with("start"))
            .collect::<Vec<_>>()
    };
    told(&mut supervisor);
    supervisor.down(worker(gpu(), 0, 1), failed(), false, Tick(5));
    let due = Tick(100_000_005);
    assert_eq!(
        (starts(&mut supervisor), supervisor.next_tick()),
        (vec!["start gpu-0 after 100ms".to_owned()], Some(due))
    );
    supervisor.tick(Tick(due.0 - 1));
    assert!(starts(&mut supervisor).is_empty());
    // The machine slept meanwhile.
    let late = due.after(Duration::from_secs(3600));
    supervisor.tick(late);
    assert_eq!((starts(&mut supervisor).len(), supervisor.next_tick()), (1, None));
    supervisor.down(worker(gpu(), 0, 2), failed(), false, late);
    assert_eq!(supervisor.next_tick(), Some(late.after(Duration::from_millis(200))));
    supervisor.stop();
    assert_eq!(supervisor.next_tick(), None);
}

#[test]
fn the_end_retires_every_worker_of_every_pool_and_is_told_once_all_are_gone() {
    let mut supervisor = supervisor(1, 1);
    supervisor.begin();
    all_ready(&mut supervisor, gpu(), 1);
    supervisor.stop();
    let retired = ["cpu", "io", "gpu"].map(|pool| format!("retire {pool}-0.1 Shutdown"));
    assert_eq!(told(&mut supervisor), retired);
    for pool in [PoolId::CPU, PoolId::IO] {
        supervisor.down(worker(pool, 0, 1), departure(WorkerDownReason::Retired), true, Tick(1));
    }
    assert_eq!(told(&mut supervisor), ["left cpu-0.1", "left io-0.1"]);
    supervisor.down(worker(gpu(), 0, 1), departure(WorkerDownReason::Retired), true, Tick(1));
    assert_eq!(told(&mut supervisor), ["left gpu-0.1", "stopped"]);
}
