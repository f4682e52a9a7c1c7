//! A demo that runs, and what its log comes to.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::Running;

/// A demo, and where it is.
pub(crate) struct Demo {
    directory: PathBuf,
    arguments: Vec<String>,
    running: Running,
    /// The page's address.
    pub(crate) page: String,
    /// The bus's `host:port`.
    bus: String,
}

impl Demo {
    /// Starts one on ports that are free, and waits until it says where it is.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        // The page keeps its port when the demo is started again, as its visitors do.
        let free = free_port();
        let own =
            ["demo", "--listen", "127.0.0.1:0", "--viewer", "127.0.0.1:0", "--service-port", "0", "--page", &free];
        let arguments: Vec<String> = own.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let (running, page, bus) = begin(directory, &arguments);
        Self { directory: directory.to_owned(), arguments, running, page, bus }
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again, on the same file and with its page in the same place.
    pub(crate) fn restart(&mut self) {
        let (running, page, bus) = begin(&self.directory, &self.arguments);
        assert_eq!(page, self.page, "the page is where it was");
        (self.running, self.bus) = (running, bus);
    }

    /// Asks it to end, and gives what its last audit said.
    pub(crate) fn end(&mut self) -> Value {
        assert_eq!(self.running.end(), Some(0));
        loop {
            // It says what it comes to before it ends.
            let line = self.running.line();
            if line["kind"] == "audit" {
                return line;
            }
        }
    }

    /// The bus's answer to a question.
    async fn ask(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.bus).await.expect("the bus is there");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.bus);
        stream.write_all(request.as_bytes()).await.expect("can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("UTF-8");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// A port that is free and stays so while nobody listens there: whoever asks for any port, as the other demos do, is given
/// one from further up.
fn free_port() -> String {
    static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let first = 12_000 + std::process::id() % 16_000;
    let mut candidates = (first..first + 4_000).map(|port| format!("127.0.0.1:{port}"));
    let mut taken = TAKEN.lock().expect("no test panics here");
    let is_free = |address: &String| !taken.contains(address) && TcpListener::bind(address).is_ok();
    let free = candidates.find(is_free).expect("one of so many is free");
    taken.insert(free.clone());
    free
}

/// A process, its page and its bus.
fn begin(directory: &Path, arguments: &[String]) -> (Running, String, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = Running::start(directory, &arguments);
    let listening = running.line();
    let text = |name: &str| listening[name].as_str().expect("an address").to_owned();
    let (page, bus) = (text("page"), text("bus").trim_start_matches("http://").to_owned());
    (running, page, bus)
}

/// What an account holds according to the log alone.
pub(crate) async fn fold(demo: &Demo, account: &str) -> i64 {
    let page = demo.ask(&format!("/v1/events?key=acc-{account}&limit=1000")).await;
    let events = page["events"].as_array().expect("events");
    assert!(page["next"].is_null(), "an account of a test has few events");
    events
        .iter()
        .map(|event| match event["type"].as_str() {
            Some("ConfirmedCredit") => event["data"]["pence"].as_i64().expect("pence"),
            Some("ConfirmedDebit") => -event["data"]["pence"].as_i64().expect("pence"),
            _ => 0,
        })
        .sum()
}
