//! The Autoscaler: samples the load as often as its policy asks for, and sets the target of each pool. Once a second it
//! measures the workers' processes.

use std::time::Duration;

use actix::prelude::*;

use super::StopOnPanic;
use super::dispatcher::Dispatcher;
use super::messages::{GetLoads, GetProcesses, Loads, Measured, SetTarget, TimerDue};
use super::supervisor::Supervisor;
use super::timer::{ActorTimer, TimerDriver};
use crate::config::Config;
use crate::model::{Clock, HostLoad, PoolMap, Tick, WorkerRef};
use crate::policy::scaling::{Scaler, ScalingStep};
use crate::process::{Measurement, Meter, offload_or_inline};

/// The interval between two measurements, and between two samples of an idle pool (L10).
const PERIOD: Duration = Duration::from_secs(1);
/// The minimum interval between two samples under any policy.
const SHORTEST: Duration = Duration::from_millis(50);

/// The actor that sets the targets of pools and measures the workers' processes.
pub struct Autoscaler {
    dispatcher: Addr<Dispatcher>,
    supervisor: Addr<Supervisor>,
    clock: Clock,
    timer: ActorTimer,
    pools: PoolMap<PoolScaler>,
    /// The meter. `None` during a measurement, or if nothing is measured.
    meter: Option<Box<dyn Meter>>,
    /// The time of the next measurement.
    measure_at: Tick,
    _fatal: StopOnPanic,
}

/// The scaling of one pool.
struct PoolScaler {
    scaler: Scaler,
    /// The time of the pool's next sample; `None`: when something else happens.
    look_at: Option<Tick>,
}

impl Autoscaler {
    /// An autoscaler for the configured pools. Without a meter, it measures nothing.
    #[must_use]
    pub fn new(
        config: &Config,
        dispatcher: Addr<Dispatcher>,
        supervisor: Addr<Supervisor>,
        timers: &TimerDriver,
        meter: Option<Box<dyn Meter>>,
    ) -> Self {
        let pools = config.pool_settings().map(|pool, settings| PoolScaler {
            scaler: Scaler::new(pool, settings.kind, config.autoscaler, settings.workers),
            look_at: Some(Tick::default()),
        });
        let measure_at = Tick::default();
        let (clock, timer) = (timers.clock(), timers.timer());
        Self { dispatcher, supervisor, clock, timer, pools, meter, measure_at, _fatal: StopOnPanic }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let loads = self.dispatcher.send(GetLoads).into_actor(self);
        ctx.spawn(loads.map(|loads, scaler, ctx| {
            // If the Dispatcher is gone, the whole system ends in a moment.
            let Ok(loads) = loads else { return };
            scaler.judge(&loads);
            let now = scaler.clock.now();
            if scaler.measure_at <= now {
                scaler.measure_at = now.after(PERIOD);
                scaler.measure(ctx);
            }
            let looks = scaler.pools.values().filter_map(|pool| pool.look_at);
            let next = looks.fold(scaler.measure_at, Tick::min);
            scaler.timer.set(next.max(now.after(SHORTEST)), ctx);
        }));
    }

    fn judge(&mut self, loads: &Loads) {
        let now = self.clock.now();
        for (id, load) in loads.pools.iter() {
            let Some(pool) = self.pools.get_mut(id) else { continue };
            let due = pool.look_at.is_some_and(|at| at <= now);
            let needs_first = load.is_empty() && load.waiting > 0;
            if !due && !needs_first {
                continue;
            }
            let decision = pool.scaler.decide(load, now);
            pool.look_at = decision.look_again;
            let total = u32::try_from(load.workers.len() + load.starting).unwrap_or(u32::MAX);
            let (target, rule) = match decision.verdict {
                ScalingStep::Stay => continue,
                ScalingStep::Grow { by, rule, .. } => (total.saturating_add(by), rule),
                ScalingStep::Shrink { by, rule } => (total.saturating_sub(by), rule),
            };
            if let Some(line) = decision.line {
                tracing::info!("{line}");
            }
            self.supervisor.do_send(SetTarget { pool: id, workers: target, rule });
        }
    }

    /// Measures the processes on another thread (L11). If a measurement takes longer than the interval, the next one
    /// waits for it, and the sample in between uses the previous figures.
    fn measure(&mut self, ctx: &mut Context<Self>) {
        let Some(meter) = self.meter.take() else { return };
        let processes = self.supervisor.send(GetProcesses).into_actor(self);
        // If the Supervisor is gone, the whole system ends in a moment.
        ctx.spawn(
            processes.map(|processes, scaler, ctx| scaler.measure_all(meter, processes.unwrap_or_default(), ctx)),
        );
    }

    fn measure_all(&self, mut meter: Box<dyn Meter>, processes: Vec<(WorkerRef, u32)>, ctx: &mut Context<Self>) {
        let pids: Vec<u32> = processes.iter().map(|(_, pid)| *pid).collect();
        let measured = offload_or_inline(move || {
            let measurement = meter.measure(&pids);
            (meter, measurement)
        });
        ctx.spawn(measured.into_actor(self).map(move |measured, scaler, _| match measured {
            Some((meter, Measurement { host, processes: loads })) => {
                scaler.meter = Some(meter);
                let workers = processes.into_iter().zip(loads).filter_map(|((worker, _), load)| Some((worker, load?)));
                scaler.dispatcher.do_send(Measured { host, workers: workers.collect() });
            }
            None => {
                tracing::error!(
                    "measuring the workers' processes failed; CPU and memory usage are unknown from now on"
                );
                // The last measurement does not stay valid.
                let unknown = Measured { host: HostLoad::default(), workers: Vec::new() };
                scaler.dispatcher.do_send(unknown);
            }
        }));
    }
}

impl Actor for Autoscaler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<TimerDue> for Autoscaler {
    type Result = ();

    fn handle(&mut self, _: TimerDue, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
