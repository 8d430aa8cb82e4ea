//! Models by their name on the hub, which is here a server of a few lines on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::training::{checkpoint, fails, finish, folder, small};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub holds, and what it was asked for.
struct Hub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// An answer: status, further headers, body.
type Answer = (&'static str, String, Vec<u8>);

impl Hub {
    /// Serves `files` as the model `owner/model`; `owner/gated` is gated, `owner/broken` is rubbish, nothing else exists.
    fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(vec![]));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &files, &log);
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("a log"))
    }
}

/// One request, one connection.
fn answer(stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = String::new();
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            range = value.to_owned();
        }
    }
    let resolve = format!("/owner/model/resolve/{COMMIT}/");
    let (status, headers, body): Answer = match path.strip_prefix(&resolve) {
        Some(file) => {
            log.lock().expect("a log").push(file.to_owned());
            part(&files[file], &range, file)
        }
        None if path == "/api/models/owner/model/revision/main" => {
            let names = files.keys().map(String::as_str).chain(["README.md", "pytorch_model.bin"]);
            let siblings: Vec<_> = names.map(|name| json!({"rfilename": name})).collect();
            ("200 OK", String::new(), json!({"siblings": siblings, "sha": COMMIT}).to_string().into_bytes())
        }
        None if path.contains("gated") => ("401 Unauthorized", String::new(), vec![]),
        None if path.contains("broken") => {
            ("200 OK", String::new(), json!({"siblings": [], "sha": "../../evil"}).to_string().into_bytes())
        }
        None => ("404 Not Found", String::new(), vec![]),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len())?;
    stream.write_all(&body)
}

/// The bytes of a file that a range asks for.
fn part(bytes: &[u8], range: &str, file: &str) -> Answer {
    let (from, to) = range.split_once('-').unwrap_or(("0", ""));
    let from: usize = from.parse().unwrap_or(0);
    let to = to.parse().unwrap_or(bytes.len().saturating_sub(1));
    let headers = format!(
        "ETag: \"{file}-etag\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{to}/{}\r\n",
        bytes.len()
    );
    ("206 Partial Content", headers, bytes[from..=to].to_vec())
}

/// A supervised stage from a model of that name, on a cache and an endpoint of the test's own.
fn sft(run: &Path, home: &Path, endpoint: &str, name: &str) -> Command {
    let mut command = small("sft", run);
    command.args(["--set", "sft.learning_rate=0", "--set", "lora_rank=0", "--set", &format!("model_name={name}")]);
    for variable in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.env("HF_HOME", home).env("HF_ENDPOINT", endpoint);
    command
}

/// A model as a folder, by file.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("readable"))
    };
    entries.map(read).filter(|(name, _)| name != "optimizer.safetensors").collect()
}

#[test]
fn a_model_is_downloaded_once_and_then_taken_from_the_cache() {
    let (origin, home, runs) = (folder(), folder(), folder());
    finish(small("sft", origin.path()));
    let files = files(&origin.path().join("sft/checkpoints/000012"));
    let hub = Hub::start(files.clone());
    let run = |name: &str, endpoint: &str| {
        let run = runs.path().join(name);
        let command = sft(&run, home.path(), endpoint, "owner/model");
        (run, command)
    };
    let (first, command) = run("first", &hub.endpoint);
    finish(command);
    let weights = |run: &Path| checkpoint(run, "sft", "000012", "model.safetensors");
    assert!(weights(&first) == files["model.safetensors"], "a learning rate of 0 does not move what was downloaded");
    let asked = hub.asked();
    assert!(asked.iter().any(|file| file == "tokenizer.json"), "{asked:?}");
    assert!(!asked.iter().any(|file| file == "README.md" || file == "pytorch_model.bin"), "{asked:?}");

    let (second, command) = run("second", "http://127.0.0.1:9");
    finish(command);
    assert!(weights(&second) == weights(&first), "the cache needs no hub");
    let (_, mut offline) = run("third", &hub.endpoint);
    offline.env("HF_HUB_OFFLINE", "1");
    finish(offline);
    assert!(hub.asked().is_empty());

    // A file that is missing is downloaded again, the others are not.
    fs::remove_file(home.path().join(format!("hub/models--owner--model/snapshots/{COMMIT}/tokenizer.json")))
        .expect("gone");
    finish(run("fourth", &hub.endpoint).1);
    assert!(hub.asked().iter().all(|file| file == "tokenizer.json"));
}

#[test]
fn what_cannot_be_had_is_explained() {
    let (home, run) = (folder(), folder());
    let hub = Hub::start(BTreeMap::new());
    let sft = |name: &str| sft(&run.path().join("run"), home.path(), &hub.endpoint, name);
    fails(sft("owner/nothing"), &["no model `owner/nothing`", "no folder of that name"]);
    fails(sft("owner/gated"), &["401", "gated or private", "HF_TOKEN"]);
    fails(sft("owner/broken"), &["../../evil", "is it a Hugging Face hub?"]);
    fails(sft("owner/model"), &["holds no config.json"]);
    let mut offline = sft("owner/model");
    offline.env("HF_HUB_OFFLINE", "true");
    fails(offline, &["not, or not whole, in the cache", "HF_HUB_OFFLINE"]);
    let mut away = sft("owner/model");
    away.env("HF_ENDPOINT", "http://127.0.0.1:9");
    fails(away, &["cannot get `owner/model` from http://127.0.0.1:9", "name a folder"]);
    assert!(!run.path().join("run").exists(), "no run begins without its model");
}
