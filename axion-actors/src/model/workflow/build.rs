//! The builder of workflows: chain, group and chord.

use super::{Capacity, Dependency, OnFailure, OnImpossible, Step, UpstreamKeys, WorkflowBounds, WorkflowSpec};

/// Builds a workflow from blocks.
///
/// A block does not depend on another, unless [`then`](Self::then) comes before it. Then its first steps depend on the
/// last steps of the previous block.
///
/// ```
/// # use axion_actors::model::{Task, workflow::{Step, WorkflowSpec}};
/// # let step = |name: &str| Step::new(name, Task::script("work.py"));
/// let spec = WorkflowSpec::builder("sums")
///     .step(step("split"))
///     .then()
///     .chord([step("left"), step("right")], step("sum"))
///     .build();
/// assert_eq!(spec.steps[3].depends_on(), ["left".into(), "right".into()]);
/// ```
#[derive(Debug, Default)]
pub struct WorkflowBuilder {
    spec: WorkflowSpec,
    ends: Vec<Dependency>,
    follow: bool,
}

impl WorkflowSpec {
    /// Starts a workflow.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> WorkflowBuilder {
        WorkflowBuilder { spec: Self { name: name.into(), ..Self::default() }, ..WorkflowBuilder::default() }
    }

    /// A workflow with these steps.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }
}

fn handle(step: &Step) -> Dependency {
    step.name().map_or_else(|| Dependency::Task(step.task().id()), |name| Dependency::Step(name.clone()))
}

impl WorkflowBuilder {
    /// Makes the next block depend on the previous one.
    #[must_use]
    pub fn then(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Adds a block of one step.
    #[must_use]
    pub fn step(self, step: Step) -> Self {
        self.group([step])
    }

    /// Adds steps in sequence. Each depends on the previous one and finds its result in `upstream_results`. The chain
    /// stops at a failure.
    #[must_use]
    pub fn chain(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        for (place, step) in steps.into_iter().enumerate() {
            self.follow |= place > 0;
            self = self.group([step]);
        }
        self.follow = false;
        self
    }

    /// Adds steps side by side.
    #[must_use]
    pub fn group(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        let before = std::mem::take(&mut self.ends);
        let follow = std::mem::take(&mut self.follow);
        for mut step in steps {
            if follow {
                step.depends_on.reserve_exact(before.len());
                step.depends_on.extend(before.iter().cloned());
            }
            self.ends.push(handle(&step));
            self.spec.steps.push(step);
        }
        self
    }

    /// Adds steps side by side, and one that depends on all of them.
    #[must_use]
    pub fn chord(self, steps: impl IntoIterator<Item = Step>, last: Step) -> Self {
        self.group(steps).then().step(last)
    }

    /// Sets the effect of a failed step on the rest.
    #[must_use]
    pub fn on_failure(mut self, rule: OnFailure) -> Self {
        self.spec.on_failure = rule;
        self
    }

    /// Sets the effect of a step whose needs exceed the capacity.
    #[must_use]
    pub fn on_impossible(mut self, rule: OnImpossible) -> Self {
        self.spec.on_impossible = rule;
        self
    }

    /// Sets the keys of `params["upstream_results"]`.
    #[must_use]
    pub fn upstream(mut self, keys: UpstreamKeys) -> Self {
        self.spec.upstream = keys;
        self
    }

    /// Sets the resources that the steps may use at the same time.
    #[must_use]
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.spec.capacity = capacity;
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn bounds(mut self, bounds: WorkflowBounds) -> Self {
        self.spec.bounds = bounds;
        self
    }

    /// Returns the workflow.
    #[must_use]
    pub fn build(self) -> WorkflowSpec {
        self.spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Task;

    fn step(name: &str) -> Step {
        Step::new(name, Task::script("work.py"))
    }

    fn edges(spec: &WorkflowSpec) -> Vec<String> {
        let of = |step: &Step| step.depends_on().iter().map(|it| format!("{it}>{}", step.title())).collect::<Vec<_>>();
        spec.steps.iter().flat_map(of).collect()
    }

    #[test]
    fn blocks_are_independent_unless_then_joins_them() {
        let spec = WorkflowSpec::builder("x").chain(["a", "b", "c"].map(step)).group(["d", "e"].map(step)).build();
        assert_eq!(edges(&spec), ["a>b", "b>c"]);
        let spec = WorkflowSpec::builder("x")
            .step(step("a"))
            .then()
            .chord(["b", "c"].map(step), step("d"))
            .then()
            .chain(["e", "f"].map(step))
            .build();
        assert_eq!(edges(&spec), ["a>b", "a>c", "b>d", "c>d", "d>e", "e>f"]);
    }

    #[test]
    fn an_unnamed_step_is_a_dependency_by_its_tasks_id() {
        let first = Step::unnamed(Task::script("work.py"));
        let id = first.task().id();
        let spec = WorkflowSpec::builder("x").chain([first, step("b")]).build();
        assert_eq!(spec.steps[1].depends_on(), [Dependency::Task(id)]);
    }
}
