//! Evaluates conditions.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::model::workflow::{Condition, Op, StepError, Test};

/// Whether a condition holds. `decide` decides a test.
///
/// The recursion is bounded: the depth of conditions is checked before a workflow starts.
pub(super) fn holds(
    condition: &Condition,
    decide: &mut dyn FnMut(&Test) -> Result<bool, StepError>,
) -> Result<bool, StepError> {
    match condition {
        Condition::Test(test) => decide(test),
        Condition::Not(part) => Ok(!holds(part, decide)?),
        Condition::All(parts) => {
            for part in parts {
                if !holds(part, decide)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Condition::Any(parts) => {
            for part in parts {
                if holds(part, decide)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Whether a test of this value holds.
pub(super) fn decide(test: &Test, found: Result<&Value, StepError>) -> Result<bool, StepError> {
    let value = match (found, test.op) {
        // The value exists and is unreadable.
        (Err(error @ StepError::NotPlain { .. }), _) => return Err(error),
        (Err(_), Op::Exists) => return Ok(false),
        (Err(error), _) => return Err(error),
        (Ok(value), _) => value,
    };
    let incomparable = |found: String| StepError::Incomparable { test: test.to_string(), found };
    let ordered = |fits: fn(Ordering) -> bool| match order(value, &test.value) {
        Some(order) => Ok(fits(order)),
        None => Err(incomparable(format!("there is {}", super::json::describe_value(value)))),
    };
    match test.op {
        Op::Exists => Ok(true),
        Op::Truthy => Ok(truthy(value)),
        Op::Eq => Ok(equal(value, &test.value)),
        Op::Ne => Ok(!equal(value, &test.value)),
        Op::Lt => ordered(Ordering::is_lt),
        Op::Le => ordered(Ordering::is_le),
        Op::Gt => ordered(Ordering::is_gt),
        Op::Ge => ordered(Ordering::is_ge),
        Op::In => match &test.value {
            Value::Array(list) => Ok(list.iter().any(|element| equal(value, element))),
            _ => Err(incomparable("`in` needs a list to look in".to_owned())),
        },
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(it) => it.as_f64() != Some(0.0),
        Value::String(it) => !it.is_empty(),
        Value::Array(it) => !it.is_empty(),
        Value::Object(it) => !it.is_empty(),
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| equal(value, other)))
        }
        (one, other) => one == other,
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Compares whole numbers exactly, and others as floating point.
fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::workflow::Reference;

    fn ask(value: Value, op: Op, with: Value) -> Result<bool, StepError> {
        let condition = Condition::test(Reference::to("x"), op, with);
        holds(&condition, &mut |test| decide(test, Ok(&value)))
    }

    #[test]
    fn values_are_compared_as_people_expect() {
        for (value, op, with, result) in [
            (json!(1), Op::Eq, json!(1.0), true),
            (json!([1, {"a": 2.0}]), Op::Eq, json!([1.0, {"a": 2}]), true),
            (json!("1"), Op::Eq, json!(1), false),
            (json!("1"), Op::Ne, json!(1), true),
            (json!(9_007_199_254_740_993_i64), Op::Gt, json!(9_007_199_254_740_992_i64), true),
            (json!(u64::MAX), Op::Gt, json!(-1), true),
            (json!(0.5), Op::Lt, json!(1), true),
            (json!("abc"), Op::Le, json!("abd"), true),
            (json!(3), Op::In, json!([1, 2, 3.0]), true),
            (json!(null), Op::In, json!([]), false),
            (json!(null), Op::Exists, json!(null), true),
            (json!(0.0), Op::Truthy, json!(null), false),
            (json!([0]), Op::Truthy, json!(null), true),
            (json!({}), Op::Truthy, json!(null), false),
        ] {
            assert_eq!(ask(value.clone(), op, with.clone()), Ok(result), "{value} {op:?} {with}");
        }
    }

    #[test]
    fn what_has_no_order_is_an_error_and_not_a_quiet_no() {
        let error = ask(json!("5"), Op::Lt, json!(6)).expect_err("no order");
        assert_eq!(error.to_string(), "the condition x < 6 cannot be decided: there is the text \"5\"");
        assert!(ask(json!(null), Op::Ge, json!(0)).is_err());
        assert!(ask(json!(1), Op::In, json!("1")).is_err());
    }

    #[test]
    fn parts_are_combined_from_left_to_right_until_it_is_certain() {
        let part = |result: bool| Condition::test(Reference::to("x"), Op::Eq, json!(result));
        let bad = || Condition::test(Reference::to("x"), Op::Lt, json!(1));
        let is_true = json!(true);
        let mut find = |test: &Test| decide(test, Ok(&is_true));
        assert_eq!(holds(&Condition::Any(vec![part(true), bad()]), &mut find), Ok(true));
        assert_eq!(holds(&Condition::All(vec![part(false), bad()]), &mut find), Ok(false));
        assert_eq!(holds(&Condition::Not(Box::new(Condition::Any(vec![]))), &mut find), Ok(true));
        assert!(holds(&Condition::All(vec![part(true), bad()]), &mut find).is_err());
    }

    #[test]
    fn only_exists_may_ask_for_what_is_not_there() {
        let missing = |test: &Test| decide(test, Err(StepError::Cancelled));
        let asked = |op| holds(&Condition::test(Reference::to("x"), op, json!(1)), &mut missing.clone());
        assert_eq!(asked(Op::Exists), Ok(false));
        for op in Op::ALL.into_iter().filter(|op| *op != Op::Exists) {
            assert!(asked(op).is_err(), "{op:?}");
        }
    }
}
