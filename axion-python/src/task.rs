//! Tasks and their options.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axion_core as core;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Bytes that a function needs, which each worker receives once.
#[pyclass(frozen, weakref, module = "axion._axion")]
pub(crate) struct Part(core::Part);

#[pymethods]
impl Part {
    /// The part of these bytes: a buffer, or a list of buffers that are joined. They are copied.
    #[new]
    fn new(py: Python<'_>, code: &Bound<'_, PyAny>) -> PyResult<Self> {
        let pieces = pieces(code)?;
        Ok(Self(read(py, &pieces, |pieces| core::Part::new(core::join_payload(pieces)))))
    }

    /// A part that only workers see: records and facts leave it out. Its id is random.
    #[staticmethod]
    fn secret(bytes: &[u8]) -> Self {
        Self(core::Part::secret(bytes.to_vec()))
    }

    /// The hash of the bytes.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.id().0)
    }

    fn __len__(&self) -> usize {
        self.0.bytes().len()
    }
}

/// A hash of 128 bits of a buffer, which is not copied. Equal bytes have equal hashes.
#[pyfunction]
pub(crate) fn fingerprint<'py>(py: Python<'py>, buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let hash = read(py, &[Contiguous::of(buffer)?], |pieces| pieces.iter().copied().map(core::fingerprint).next());
    Ok(PyBytes::new(py, &hash.unwrap_or_default()))
}

/// A buffer of bytes one after the other, of whatever type.
struct Contiguous(PyUntypedBuffer);

impl Contiguous {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(object)?;
        if buffer.is_c_contiguous() || buffer.is_fortran_contiguous() {
            return Ok(Self(buffer));
        }
        Err(PyBufferError::new_err("the buffer must be contiguous"))
    }

    /// The bytes.
    ///
    /// Another thread of Python's can write to them meanwhile, as it can while `bytes(buffer)` copies them. What is read
    /// is then one of both states or a mixture.
    #[expect(unsafe_code, reason = "the buffer is not copied")]
    fn bytes(&self) -> &[u8] {
        match self.0.len_bytes() {
            0 => &[],
            // SAFETY: the buffer has so many contiguous bytes at this address. They are neither freed nor moved before
            // it is released.
            size => unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), size) },
        }
    }
}

/// A buffer, or a list of buffers.
fn pieces(object: &Bound<'_, PyAny>) -> PyResult<Vec<Contiguous>> {
    match object.cast::<PyList>() {
        Ok(list) => list.iter().map(|piece| Contiguous::of(&piece)).collect(),
        Err(_) => Ok(vec![Contiguous::of(object)?]),
    }
}

/// Calls `read` with the bytes of buffers, without the interpreter lock if they are large.
fn read<T: Send>(py: Python<'_>, pieces: &[Contiguous], read: impl FnOnce(&[&[u8]]) -> T + Send) -> T {
    let pieces: Vec<&[u8]> = pieces.iter().map(Contiguous::bytes).collect();
    let is_large = pieces.iter().map(|piece| piece.len()).sum::<usize>() >= core::SHARE_FROM;
    if is_large { py.detach(|| read(&pieces)) } else { read(&pieces) }
}

/// A function's code, which each worker receives once, and the parts that it needs.
#[pyclass(frozen, weakref, module = "axion._axion")]
pub(crate) struct Function(core::Function);

#[pymethods]
impl Function {
    #[new]
    #[pyo3(signature = (name, code, parts=Vec::new()))]
    fn new(name: &str, code: &[u8], parts: Vec<PyRef<'_, Part>>) -> Self {
        let parts = parts.iter().map(|part| part.0.clone()).collect();
        Self(core::Function::with_parts(name, code.to_vec(), parts))
    }

    /// The same function for a call whose arguments need these parts, too.
    ///
    /// Its code ends with their ids, so it has an identity of its own. Pickles end before that.
    fn needing(&self, parts: Vec<PyRef<'_, Part>>) -> Self {
        let ids = parts.iter().flat_map(|part| part.0.id().0);
        let code: Vec<u8> = self.0.code().bytes().iter().copied().chain(ids).collect();
        let parts = self.0.parts().iter().chain(parts.iter().map(|part| &part.0)).cloned().collect();
        Self(core::Function::with_parts(&self.0.name().to_string(), code, parts))
    }

    /// The hash of the code.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

/// The options of a task.
#[pyclass(frozen, module = "axion._axion")]
#[derive(Clone)]
pub(crate) struct Options {
    pool: core::PoolId,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    retry: Option<core::RetryPolicy>,
    priority: Option<core::Priority>,
    ttl: Option<Duration>,
    not_before: Option<core::NotBefore>,
    max_worker_losses: Option<u32>,
    unique: Option<String>,
    limits: Option<Box<Limits>>,
}

/// The limits of a task. Most tasks have none.
#[derive(Clone)]
struct Limits {
    needs: core::Needs,
    concurrency: Option<core::Concurrency>,
    /// A rate without a key uses the key of the task's work.
    rate: Option<core::Rate>,
}

/// Memory as Python passes it: percent of the machine's memory, or a size such as "500 MiB".
#[derive(FromPyObject)]
pub(crate) enum Memory {
    Percent(f64),
    Size(String),
}

/// A rate as Python passes it: "10/s", or with the key whose tasks share it.
#[derive(FromPyObject)]
pub(crate) enum Rate {
    Own(String),
    Shared(String, String),
}

impl Limits {
    fn new(
        slots: Option<u32>,
        cpu: Option<f64>,
        memory: Option<Memory>,
        concurrency: Option<(String, u32)>,
        rate: Option<Rate>,
    ) -> PyResult<Option<Box<Self>>> {
        if slots.is_none() && cpu.is_none() && memory.is_none() && concurrency.is_none() && rate.is_none() {
            return Ok(None);
        }
        let wrong = |words: String| PyValueError::new_err(words);
        let percent = |name: &str, number: f64| {
            core::Fixed::new(number)
                .ok_or_else(|| wrong(format!("`{name}` must be a percentage, 0 or more, not {number}")))
        };
        let memory = memory.map(|memory| match memory {
            Memory::Percent(number) => percent("memory", number).map(core::Memory::Percent),
            Memory::Size(text) => core::parse_size(&text).map(core::Memory::Bytes).ok_or_else(|| {
                wrong(format!("`memory` must be a percentage or a size such as \"500 MiB\", not {text:?}"))
            }),
        });
        let rate = rate.map(|rate| {
            let (key, text) = match rate {
                Rate::Own(text) => (concurrency.as_ref().map(|(key, _)| key.clone()).unwrap_or_default(), text),
                Rate::Shared(key, text) => (key, text),
            };
            core::Rate::parse(key, &text).map_err(|error| wrong(error.to_string()))
        });
        let needs = core::Needs {
            slots: slots.unwrap_or(1),
            cpu: cpu.map(|number| percent("cpu", number)).transpose()?.unwrap_or_default(),
            memory: memory.transpose()?,
        };
        let concurrency = concurrency.map(|(key, max)| core::Concurrency { key: key.into(), max });
        Ok(Some(Box::new(Self { needs, concurrency, rate: rate.transpose()? })))
    }

    fn hold(&self, task: core::Task) -> core::Task {
        let mut task = task.needs(self.needs);
        if let Some(limit) = &self.concurrency {
            task = task.concurrency(limit.clone());
        }
        if let Some(rate) = &self.rate {
            let own = rate.key.is_empty().then(|| task.work().name().to_string().into());
            task = task.rate(core::Rate { key: own.unwrap_or_else(|| rate.key.clone()), ..rate.clone() });
        }
        task
    }
}

#[pymethods]
impl Options {
    #[new]
    #[pyo3(signature = (*, kind="cpu", pool=None, timeout=None, soft_timeout=None, retries=None, retry_on=None,
        retry_delay=None, retry_factor=None, retry_max_delay=None, retry_jitter=None, priority=None, ttl=None,
        delay=None, max_worker_losses=None, unique=None, slots=None, cpu=None, memory=None, concurrency=None,
        rate=None, eta=None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords of Python's")]
    fn new(
        kind: &str,
        pool: Option<&str>,
        timeout: Option<f64>,
        soft_timeout: Option<f64>,
        retries: Option<i64>,
        retry_on: Option<Vec<String>>,
        retry_delay: Option<f64>,
        retry_factor: Option<f64>,
        retry_max_delay: Option<f64>,
        retry_jitter: Option<f64>,
        priority: Option<i64>,
        ttl: Option<f64>,
        delay: Option<f64>,
        max_worker_losses: Option<i64>,
        unique: Option<String>,
        slots: Option<i64>,
        cpu: Option<f64>,
        memory: Option<Memory>,
        concurrency: Option<(String, u32)>,
        rate: Option<Rate>,
        eta: Option<&str>,
    ) -> PyResult<Self> {
        let pool = match (pool, kind) {
            (Some(name), _) => core::PoolId::named(name).map_err(|error| PyValueError::new_err(error.to_string()))?,
            (None, "cpu") => core::PoolId::CPU,
            (None, "io") => core::PoolId::IO,
            (None, other) => {
                return Err(PyValueError::new_err(format!("`kind` must be \"cpu\" or \"io\", not {other:?}")));
            }
        };
        let waits = [
            ("retry_on", retry_on.is_some()),
            ("retry_delay", retry_delay.is_some()),
            ("retry_factor", retry_factor.is_some()),
            ("retry_max_delay", retry_max_delay.is_some()),
            ("retry_jitter", retry_jitter.is_some()),
        ];
        if let (None, Some((name, _))) = (retries, waits.iter().find(|(_, given)| *given)) {
            return Err(PyValueError::new_err(format!("`{name}` has no effect without `retries`")));
        }
        let retry = count("retries", retries)?.map(|count| -> PyResult<core::RetryPolicy> {
            let mut policy = core::RetryPolicy::times(count);
            if let core::Backoff::Exponential { initial, factor, max } = &mut policy.backoff {
                *initial = time("retry_delay", retry_delay)?.unwrap_or(*initial);
                *factor = number("retry_factor", "0 or more", |it| it >= 0.0, retry_factor)?.unwrap_or(*factor);
                *max = time("retry_max_delay", retry_max_delay)?.unwrap_or(*max);
            }
            let share = |it: f64| (0.0..=1.0).contains(&it);
            policy.jitter = number("retry_jitter", "0 to 1", share, retry_jitter)?.unwrap_or(policy.jitter);
            if let Some(kinds) = retry_on {
                policy.on = kinds.iter().map(|kind| error_kind(kind)).collect::<PyResult<_>>()?;
            }
            Ok(policy)
        });
        let (timeout, soft_timeout) = (limit("timeout", timeout)?, limit("soft_timeout", soft_timeout)?);
        if timeout.is_some() && soft_timeout >= timeout {
            let words = "`soft_timeout` has no effect together with a `timeout` that is not longer";
            return Err(PyValueError::new_err(words));
        }
        Ok(Self {
            pool,
            timeout,
            soft_timeout,
            retry: retry.transpose()?,
            priority: read_priority(priority)?,
            ttl: limit("ttl", ttl)?,
            not_before: not_before(delay, eta)?,
            max_worker_losses: count("max_worker_losses", max_worker_losses)?,
            unique,
            limits: Limits::new(whole("slots", 1..=u32::MAX, slots)?, cpu, memory, concurrency, rate)?,
        })
    }
}

/// Converts a whole number that is within `allowed`.
fn whole(name: &str, allowed: RangeInclusive<u32>, value: Option<i64>) -> PyResult<Option<u32>> {
    let wrong = |given| {
        let (least, most) = (allowed.start(), allowed.end());
        PyValueError::new_err(format!("`{name}` must be a whole number from {least} to {most}, not {given}"))
    };
    let read = |given: i64| u32::try_from(given).ok().filter(|it| allowed.contains(it));
    value.map(|given| read(given).ok_or_else(|| wrong(given))).transpose()
}

fn count(name: &str, value: Option<i64>) -> PyResult<Option<u32>> {
    whole(name, 0..=u32::MAX, value)
}

fn read_priority(value: Option<i64>) -> PyResult<Option<core::Priority>> {
    let wrong = |given| {
        PyValueError::new_err(format!("`priority` must be a whole number from 0, the most urgent, to 9, not {given}"))
    };
    let read = |given: i64| u8::try_from(given).ok().and_then(|level| core::Priority::try_from(level).ok());
    value.map(|given| read(given).ok_or_else(|| wrong(given))).transpose()
}

/// Checks a number with `is`; `allowed` describes the allowed numbers.
fn number(name: &str, allowed: &str, is: impl Fn(f64) -> bool, value: Option<f64>) -> PyResult<Option<f64>> {
    let wrong = |given: f64| PyValueError::new_err(format!("`{name}` must be a number, {allowed}, not {given}"));
    value.map(|given| if is(given) { Ok(given) } else { Err(wrong(given)) }).transpose()
}

/// A time limit. It is above 0, as in flows and on the command line.
fn limit(name: &str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let wrong = |given: f64| {
        PyValueError::new_err(format!("`{name}` must be a time above 0: seconds as a number, not {given}"))
    };
    let read = |given: f64| Duration::try_from_secs_f64(given).ok().filter(|it| !it.is_zero());
    seconds.map(|given| read(given).ok_or_else(|| wrong(given))).transpose()
}

fn time(name: &str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let wrong =
        |given: f64| PyValueError::new_err(format!("`{name}` must be seconds as a number, 0 or more, not {given}"));
    seconds.map(|given| Duration::try_from_secs_f64(given).map_err(|_| wrong(given))).transpose()
}

/// The earliest start: some seconds after the submit, or at a time in the format of RFC 3339.
fn not_before(delay: Option<f64>, eta: Option<&str>) -> PyResult<Option<core::NotBefore>> {
    let Some(eta) = eta else { return Ok(time("delay", delay)?.map(core::NotBefore::After)) };
    if delay.is_some() {
        return Err(PyValueError::new_err("`delay` and `eta` both say when the task starts: give one of them"));
    }
    let wrong = |_| PyValueError::new_err(format!("`eta` must be a time, not {eta:?}"));
    eta.parse().map(|time| Some(core::NotBefore::At(time))).map_err(wrong)
}

fn error_kind(name: &str) -> PyResult<core::ErrorKind> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|_| PyValueError::new_err(format!("`retry_on` must list codes of failures, and {name:?} is none")))
}

/// The task that a Python call describes.
pub(crate) fn task(work: &Bound<'_, PyAny>, payload: &Bound<'_, PyAny>, options: &Options) -> PyResult<core::Task> {
    let task = if let Ok(function) = work.cast::<Function>() {
        core::Task::call(function.get().0.clone(), joined(payload)?)
    } else {
        let path: PathBuf = work.extract()?;
        core::Task::script(path)
            .params_json(joined(payload)?)
            .map_err(|error| PyValueError::new_err(error.to_string()))?
    };
    let mut task = task.on(options.pool);
    if let Some(limit) = options.timeout {
        task = task.timeout(limit);
    }
    if let Some(limit) = options.soft_timeout {
        task = task.soft_timeout(limit);
    }
    if let Some(policy) = &options.retry {
        task = task.retry(policy.clone());
    }
    if let Some(priority) = options.priority {
        task = task.priority(priority);
    }
    if let Some(limit) = options.ttl {
        task = task.ttl(limit);
    }
    task = match options.not_before {
        Some(core::NotBefore::After(time)) => task.delay(time),
        Some(core::NotBefore::At(time)) => task.not_before(time),
        None => task,
    };
    if let Some(count) = options.max_worker_losses {
        task = task.max_worker_losses(count);
    }
    if let Some(limits) = &options.limits {
        task = limits.hold(task);
    }
    match &options.unique {
        Some(key) => task.unique(key).map_err(|error| PyValueError::new_err(error.to_string())),
        None => Ok(task),
    }
}

/// Arguments as one payload: bytes, or a list of buffers that are joined.
fn joined(payload: &Bound<'_, PyAny>) -> PyResult<core::Payload> {
    match payload.cast::<PyBytes>() {
        Ok(bytes) if bytes.as_bytes().len() < core::SHARE_FROM => Ok(bytes.as_bytes().to_vec().into()),
        _ => Ok(read(payload.py(), &pieces(payload)?, core::join_payload)),
    }
}
