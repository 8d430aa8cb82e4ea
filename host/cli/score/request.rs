//! One request line as a sample and settings. Generous in what it reads (missing fields, two spellings of names, numbers
//! as ground truth), and exact about what it refuses, because that sentence is all the sender gets.

use rewarden_runtime::Sample;
use serde_json::{Map, Value};

use super::lines::Line;
use crate::records::{full_sample, sample_from_input};

/// A request that was read, well or badly.
pub(crate) struct Request {
    /// As it came, of any JSON type; null when it could not be read.
    pub(crate) id: Value,
    /// What to judge, or why that is not known.
    pub(crate) task: Result<Task, String>,
}

/// A sample and the settings it is judged under.
pub(crate) struct Task {
    pub(crate) sample: Sample,
    pub(crate) settings: Value,
}

impl Request {
    pub(crate) fn parse(line: &Line) -> Request {
        let Line::Bytes(line) = line else {
            return Request { id: Value::Null, task: Err("the line is longer than 16 MiB".into()) };
        };
        match serde_json::from_slice(line) {
            Ok(Value::Object(mut request)) => {
                let id = request.remove("id").unwrap_or_default();
                let task = task(&id, request);
                Request { id, task }
            }
            Ok(_) => Request { id: Value::Null, task: Err("the request is not a JSON object".into()) },
            Err(error) => Request { id: Value::Null, task: Err(format!("the line is not JSON: {error}")) },
        }
    }
}

fn task(id: &Value, mut request: Map<String, Value>) -> Result<Task, String> {
    let settings = match request.remove("config") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::Object(config)) => Value::Object(config),
        Some(_) => return Err("`config` is not a JSON object".into()),
    };
    let mut sample = match (request.remove("sample"), request.remove("input")) {
        (Some(sample), _) => full_sample(sample).map_err(|error| format!("`sample`: {error}"))?,
        (None, Some(Value::Object(input))) => sample_from_input(input)?,
        (None, Some(_)) => return Err("`input` is not a JSON object".into()),
        (None, None) => return Err("the request has neither `input` nor `sample`".into()),
    };
    if sample.id.is_empty() {
        sample.id =
            id.as_str().map_or_else(|| if id.is_null() { String::new() } else { id.to_string() }, str::to_owned);
    }
    Ok(Task { sample, settings })
}
