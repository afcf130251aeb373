//! The engine embedded in an async service: a TCP server that runs a task for every line it is sent.
//!
//! ```text
//! cargo run --release --example async_service              # serves a demonstration client, then ends
//! cargo run --release --example async_service -- 7070      # serves port 7070 until Ctrl-C
//! ```
//!
//! A line is the JSON of the task's parameters; the answer is the result, or the error, as one line.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use axion_core::{Engine, PoolKind, Task};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/scripts/double.py");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map(|text| text.parse::<u16>()).transpose()?;
    let engine = Arc::new(Engine::builder().cpu_workers(2).io_workers(0).start()?);
    let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
    let address = listener.local_addr()?;
    println!("serving on {address}");

    let server = tokio::spawn(serve(listener, engine.clone()));
    if port.is_some() {
        tokio::signal::ctrl_c().await?;
    } else {
        demonstrate(TcpStream::connect(address).await?).await?;
    }
    server.abort();

    // A shutdown blocks while tasks end, so it gets a thread that may.
    let report = tokio::task::spawn_blocking(move || engine.shutdown(Duration::from_secs(5))).await?;
    println!("shut down, {} tasks cancelled", report.cancelled);
    Ok(())
}

async fn serve(listener: TcpListener, engine: Arc<Engine>) {
    while let Ok((stream, _)) = listener.accept().await {
        let engine = engine.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &engine).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

async fn converse(mut stream: TcpStream, engine: &Engine) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading).lines();
    while let Some(line) = lines.next_line().await? {
        writing.write_all(answer(engine, line).await.as_bytes()).await?;
        writing.write_all(b"\n").await?;
    }
    Ok(())
}

/// Every way a request can go wrong is one line of JSON, like its result.
async fn answer(engine: &Engine, params: String) -> String {
    let task = match Task::script(SCRIPT).on(PoolKind::Cpu).params_json(params) {
        Ok(task) => task,
        Err(error) => return error_line(&error),
    };
    // Waits while the queue is full: the client feels it as a slow answer.
    let record = match engine.submit_async(task).await {
        Ok(handle) => handle.await,
        Err(error) => return error_line(&error),
    };
    match record {
        Ok(record) => match (record.outcome.data(), record.outcome.error()) {
            (Some(data), _) => data.as_str().to_owned(),
            (None, Some(error)) => error_line(error),
            (None, None) => String::new(),
        },
        Err(error) => error_line(&error),
    }
}

fn error_line(error: &dyn std::fmt::Display) -> String {
    serde_json::json!({ "error": error.to_string() }).to_string()
}

async fn demonstrate(mut stream: TcpStream) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut answers = BufReader::new(reading).lines();
    for request in [r#"{"value": 21}"#, r#"{"value": "ab"}"#, r#"{"value": "#, r#"{"value": null}"#] {
        writing.write_all(format!("{request}\n").as_bytes()).await?;
        let answer = answers.next_line().await?.unwrap_or_default();
        println!("{request:<20} → {answer}");
    }
    Ok(())
}
