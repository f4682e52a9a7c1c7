//! A demo that runs, and what its log comes to.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::dacapo;

/// A demo, and where it is.
pub(crate) struct Demo {
    directory: PathBuf,
    arguments: Vec<String>,
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
    /// The page's address.
    pub(crate) page: String,
    /// The bus's `host:port`.
    bus: String,
}

impl Demo {
    /// Starts one on ports that are free, and waits until it says where it is.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        // The page keeps its port when the demo is started again, as its visitors do.
        let free =
            TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("is bound").to_string();
        let mut all: Vec<String> = [
            "demo",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--viewer",
            "127.0.0.1:0",
            "--service-port",
            "0",
            "--page",
            &free,
        ]
        .map(str::to_owned)
        .into();
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let child = spawn(directory, &all);
        let mut demo = Self {
            directory: directory.to_owned(),
            arguments: all,
            child,
            lines: None,
            page: String::new(),
            bus: String::new(),
        };
        demo.listen();
        demo
    }

    fn listen(&mut self) {
        let mut lines = BufReader::new(self.child.stdout.take().expect("is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("UTF-8");
        let listening: Value = serde_json::from_str(&line).expect("JSON Lines");
        let text = |name: &str| listening[name].as_str().expect("an address").to_owned();
        self.page = text("page");
        self.bus = text("bus").trim_start_matches("http://").to_owned();
        self.lines = Some(lines);
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again, on the same file and with its page in the same place.
    pub(crate) fn restart(&mut self) {
        let before = self.page.clone();
        self.child = spawn(&self.directory, &self.arguments);
        self.listen();
        assert_eq!(self.page, before, "the page is where it was");
    }

    /// Asks it to end, and gives what its last audit said.
    pub(crate) fn end(&mut self, within: Duration) -> Value {
        let mut interrupt = Command::new("kill");
        interrupt.args(["-INT", &self.child.id().to_string()]);
        assert!(interrupt.status().expect("kill is there").success());
        let lines = self.lines.take().expect("it was started").lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let said = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
            let _ = sender.send(said.filter(|line| line["kind"] == "audit").last());
        });
        let audit = receiver.recv_timeout(within).expect("it ends in time").expect("it says what it comes to");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
        audit
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

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, arguments: &[String]) -> Child {
    let mut command = dacapo(directory);
    command.args(arguments).env("RUST_LOG", "off").stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("the binary can be started")
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
