//! A real browser, driven over its debugging socket: pages opened, keys pressed, scripts evaluated, requests and errors seen.
//!
//! It wants a Chromium on the path (or in `DACAPO_BROWSER`). Where there is none, a suite says that it was skipped, unless
//! `DACAPO_DEMAND_BROWSER` is set: then its lack is a failure.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Longer than anything takes that these tests ask for, on a machine that is busy with other things too.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at the page.
const LOOK_EVERY: Duration = Duration::from_millis(30);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    socket: WebSocketStream<TcpStream>,
    session: String,
    next: u64,
    /// What the page told without being asked.
    events: Vec<Value>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program; none if there is none and none is demanded.
#[expect(clippy::print_stderr, reason = "a suite that did nothing must not look like one that passed")]
fn program() -> Option<PathBuf> {
    let named = env::var_os("DACAPO_BROWSER").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        let places = env::split_paths(&path).flat_map(|place| NAMES.map(|name| place.join(name)));
        places.into_iter().find(|candidate| candidate.is_file())
    });
    if found.is_none() {
        assert!(env::var_os("DACAPO_DEMAND_BROWSER").is_none(), "no Chromium is on the path; install one");
        eprintln!("skipped: no Chromium is on the path");
    }
    found
}

impl Browser {
    /// Starts one, if there is one.
    pub(crate) async fn start(profile: &Path) -> Option<Self> {
        let program = program()?;
        let mut child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines().map_while(Result::ok);
        let url = lines.by_ref().find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let url = url.expect("the browser says where it listens");
        // Whatever else it says must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        let authority = url.trim_start_matches("ws://").split('/').next().expect("a host");
        let stream = TcpStream::connect(authority).await.expect("the browser listens");
        let (socket, _) = client_async(&url, stream).await.expect("the browser speaks");
        let mut browser = Self { child, socket, session: String::new(), next: 0, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    /// Calls a method of the protocol.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.expect("the browser is there");
        loop {
            let answer = self.receive().await;
            if answer["id"] == json!(id) {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = timeout(DEADLINE, self.socket.next()).await.expect("the browser answers in time");
            if let Message::Text(text) = message.expect("the browser is there").expect("the socket holds") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn go(&mut self, url: &str) {
        self.events.clear();
        self.call("Page.navigate", json!({"url": url})).await;
        self.loaded().await;
    }

    /// Waits until a page is loaded.
    pub(crate) async fn loaded(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive().await;
            self.events.push(event);
        }
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
    }

    /// The value of an expression on the page; a promise is waited for.
    pub(crate) async fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", params).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until the page says so. What follows from a key, a click or a frame comes when the page gets round to it: a look
    /// at once may be too early.
    pub(crate) async fn until(&mut self, what: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.eval(&format!("Boolean({what})")).await != json!(true) {
            if Instant::now() > deadline {
                let page = self.eval("document.body.innerText").await;
                panic!("never {what}\n{}", page.as_str().unwrap_or_default());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Sees that the page goes on saying so.
    pub(crate) async fn stays(&mut self, what: &str, lasting: Duration) {
        let deadline = Instant::now() + lasting;
        while Instant::now() < deadline {
            assert_eq!(self.eval(&format!("Boolean({what})")).await, json!(true), "no longer {what}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Presses a key: a character, or a name such as `Enter`.
    pub(crate) async fn press(&mut self, key: &str) {
        let mut params = json!({"type": "keyDown", "key": key});
        match key {
            "Enter" => params["text"] = json!("\r"),
            "Tab" => params["windowsVirtualKeyCode"] = json!(9),
            _ if key.chars().count() == 1 => params["text"] = json!(key),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", params).await;
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key})).await;
    }

    /// How large the window is, and whether people like it dark.
    pub(crate) async fn look(&mut self, width: u32, height: u32, dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Keeps a picture of the window for people, beside the test binaries.
    pub(crate) async fn keep(&mut self, name: &str) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&directory).expect("can be made");
        let bytes = base64(picture["data"].as_str().expect("a picture"));
        assert!(bytes.starts_with(b"\x89PNG"), "it is a picture");
        fs::write(directory.join(format!("{name}.png")), bytes).expect("can be written");
    }

    /// A picture of the window for the documents, which is written there if that was asked for.
    pub(crate) async fn picture(&mut self, name: &str) {
        // A colour that is changing still is no picture.
        self.eval("Promise.all(document.getAnimations().map(animation => animation.finished.catch(() => {})))").await;
        let picture = self.call("Page.captureScreenshot", json!({"format": "webp", "quality": 82})).await;
        let bytes = base64(picture["data"].as_str().expect("a picture"));
        assert!(bytes.len() < 100 << 10, "{name} has {} bytes", bytes.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/pictures/{name}.webp"));
        if env::var_os("DACAPO_UPDATE_README").is_some() {
            fs::write(&path, bytes).expect("can be written");
        }
        assert!(path.is_file(), "DACAPO_UPDATE_README=1 makes {}", path.display());
    }

    /// What went wrong on the page since it was opened: exceptions, and errors on its console.
    pub(crate) fn errors(&self) -> Vec<String> {
        let is_error = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_error).map(|event| event["params"].to_string()).collect()
    }

    /// The same, without those that say one of these words: what a story brings about on purpose.
    pub(crate) fn errors_but(&self, expected: &[&str]) -> Vec<String> {
        let is_other = |error: &String| !expected.iter().any(|word| error.contains(word));
        self.errors().into_iter().filter(is_other).collect()
    }

    /// Takes the network away, or gives it back.
    pub(crate) async fn offline(&mut self, offline: bool) {
        let nothing = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.call("Network.emulateNetworkConditions", nothing).await;
    }

    /// What the page was told over sockets since it was opened, or since this was asked before.
    pub(crate) async fn heard(&mut self) -> Vec<Value> {
        // Whatever has come is taken in with the answer to any question.
        self.eval("0").await;
        let (told, kept) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|event| event["method"] == "Network.webSocketFrameReceived");
        self.events = kept;
        let told: Vec<Value> = told;
        let payload = |event: &Value| serde_json::from_str(event["params"]["response"]["payloadData"].as_str()?).ok();
        told.iter().filter_map(payload).collect()
    }

    /// What the page has asked for since it was opened.
    pub(crate) fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

/// Decodes base64 that is known to be right.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(value(*byte))) << (6 * (4 - four.len()));
        out.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
