//! Settings by name.

use std::collections::BTreeMap;

use axion_core as core;
use axion_core::keys::{Given, Key, Kind, Value, Wrong};
use pyo3::exceptions::{PyKeyError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

/// The settings of an engine.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Config(pub(crate) core::Config);

/// The names of all settings, with their meanings and allowed values.
#[pyfunction]
pub(crate) fn config_keys() -> Vec<(String, &'static str, String)> {
    Key::all().map(|key| (key.name(), key.meaning(), key.allowed())).collect()
}

#[pymethods]
impl Config {
    /// The defaults, overridden by a file and the `AXION_*` variables if `environment` is true, and by `values`.
    #[new]
    #[pyo3(signature = (values, environment=false, file=None))]
    fn new(values: &Bound<'_, PyDict>, environment: bool, file: Option<std::path::PathBuf>) -> PyResult<Self> {
        let loaded = match (environment, file) {
            (_, Some(file)) => Some(core::ConfigLoader::new().file(file).load().map_err(invalid)?),
            (true, None) => Some(core::ConfigLoader::new().load().map_err(invalid)?),
            (false, None) => None,
        };
        for warning in loaded.iter().flat_map(|loaded| &loaded.warnings) {
            let text = std::ffi::CString::new(warning.to_string()).unwrap_or_default();
            PyErr::warn(values.py(), &values.py().get_type::<PyUserWarning>(), &text, 2)?;
        }
        let mut config = loaded.map(|loaded| loaded.config).unwrap_or_default();
        for (name, value) in values {
            let name: String = name.extract()?;
            set_all(&mut config, &name, &value)?;
        }
        match config.problems().first() {
            Some(problem) => Err(invalid(problem)),
            None => Ok(Self(config)),
        }
    }

    /// The value of a setting, or None if it is not set. For `pools`, the settings of each named pool.
    fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if name != "pools" {
            return shown(py, find(name)?.get(&self.0));
        }
        let pools = PyDict::new(py);
        for pool in self.0.pools.keys() {
            let settings = PyDict::new(py);
            for key in Key::of_pool(*pool) {
                settings.set_item(key.short_name(), shown(py, key.get(&self.0))?)?;
            }
            pools.set_item(pool.name(), settings)?;
        }
        Ok(pools.into_any())
    }
}

/// The value of a setting, or None if it is not set.
fn shown(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::Absent => py.None().into_bound(py),
        Value::Flag(flag) => PyBool::new(py, flag).to_owned().into_any(),
        Value::Whole(number) => number.into_pyobject(py)?.into_any(),
        Value::Number(number) => PyFloat::new(py, number).into_any(),
        Value::Time(time) => PyFloat::new(py, time.as_secs_f64()).into_any(),
        Value::Name(name) => PyString::new(py, &name).into_any(),
        Value::Path(path) => path.into_pyobject(py)?.into_any(),
        Value::Texts(texts) => texts.into_pyobject(py)?.into_any(),
        Value::Workers(workers) => {
            let bounds = PyDict::new(py);
            bounds.set_item("min", workers.min)?;
            bounds.set_item("max", workers.max)?;
            bounds.into_any()
        }
    })
}

/// Sets a key, or every key of a table: `pools` is a table of tables.
fn set_all(config: &mut core::Config, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match (Key::find(name), value.cast::<PyDict>()) {
        (Some(key), _) => set(config, key, value),
        (None, Ok(section)) => {
            if let Some(pool) = name.strip_prefix("pools.") {
                let pool = core::PoolId::named(pool).map_err(invalid)?;
                config.pools.entry(pool).or_default();
            }
            for (short, value) in section {
                let name_in_full = format!("{name}.{}", short.extract::<String>()?);
                match name {
                    "pools" => set_all(config, &name_in_full, &value)?,
                    _ => set(config, find(&name_in_full)?, &value)?,
                }
            }
            Ok(())
        }
        (None, Err(_)) => Err(find(name).err().unwrap_or_else(|| PyKeyError::new_err(name.to_owned()))),
    }
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn find(name: &str) -> PyResult<Key> {
    Key::find(name).ok_or_else(|| {
        let advice = core::nearest_key(name).map_or_else(
            || "`axion.config_keys()` lists them all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        PyKeyError::new_err(format!("there is no setting `{name}`: {advice}"))
    })
}

fn set(config: &mut core::Config, key: Key, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let refused = |found: String| {
        PyValueError::new_err(format!("invalid value {found} for `{}`: expected {}", key.name(), key.allowed()))
    };
    let text: String;
    let given = if value.is_none() {
        // None in an older Axion: the default that depends on the machine.
        if key.absent().is_none() {
            return Err(refused("None".to_owned()));
        }
        return key.set(config, Value::Absent).map_err(|_| refused("None".to_owned()));
    } else if let Ok(flag) = value.cast::<PyBool>() {
        Given::Flag(flag.is_true())
    } else if value.is_instance_of::<PyInt>() {
        Given::Whole(value.extract().map_err(|_| refused(value.to_string()))?)
    } else if let Ok(number) = value.cast::<PyFloat>() {
        Given::Number(number.extract()?)
    } else if let (Kind::Workers, Ok(bounds)) = (key.kind(), value.extract::<BTreeMap<String, Option<u32>>>()) {
        let workers = bounds_of(&bounds).ok_or_else(|| refused(value.to_string()))?;
        key.check(&workers).map_err(|wrong| refused(words(wrong)))?;
        return key.set(config, workers).map_err(|_| refused(value.to_string()));
    } else if let Ok(texts) = value.extract::<BTreeMap<String, String>>() {
        let texts = Value::Texts(texts);
        key.check(&texts).map_err(|wrong| refused(words(wrong)))?;
        return key.set(config, texts).map_err(|_| refused(value.to_string()));
    } else if let Ok(path) = value.extract::<std::path::PathBuf>() {
        text = path.into_os_string().into_string().map_err(|path| refused(format!("{}", path.display())))?;
        Given::Text(&text)
    } else {
        return Err(refused(value.get_type().to_string()));
    };
    let value = key.read(given).map_err(|wrong| refused(words(wrong)))?;
    key.set(config, value.clone()).map_err(|_| refused(key.text(&value)))
}

/// Bounds as `{"min": 0, "max": 4}`. Either may be absent. A maximum of `None` depends on the machine.
fn bounds_of(bounds: &BTreeMap<String, Option<u32>>) -> Option<Value> {
    let known = bounds.keys().all(|name| matches!(name.as_str(), "min" | "max"));
    let min = bounds.get("min").copied().unwrap_or(Some(0))?;
    known.then(|| Value::Workers(core::WorkerRange { min, max: bounds.get("max").copied().flatten() }))
}

fn words(wrong: Wrong) -> String {
    match wrong {
        Wrong::Kind(found) | Wrong::Range(found) => found,
    }
}
