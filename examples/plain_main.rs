//! The engine in a plain `main`, without any async runtime.
//!
//! ```text
//! cargo run --release --example plain_main
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::time::Duration;

use axion_core::{Engine, Task};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/scripts/double.py");
    let engine = Engine::builder().cpu_workers(2).io_workers(0).start()?;

    // Tasks are handed in at once and run as workers become free.
    let handles: Vec<_> = (0..10)
        .map(|value| Ok(engine.submit(Task::script(script).params(&json!({ "value": value }))?)?))
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;

    for handle in handles {
        let record = handle.wait()?;
        match record.outcome.data() {
            Some(data) => println!("{} on {:?}: {}", record.id, record.worker.map(|w| w.id.to_string()), data.as_str()),
            None => eprintln!("{} {}: {:?}", record.id, record.outcome.name(), record.outcome.error()),
        }
    }

    let report = engine.shutdown(Duration::from_secs(5));
    println!("shut down, {} tasks cancelled", report.cancelled);
    Ok(())
}
