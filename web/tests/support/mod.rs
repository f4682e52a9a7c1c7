//! The bank behind the page: a bus on a store in memory, the three services, the books, all over TCP in this process; and
//! visitors who call the routes directly, without a socket between.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use dacapo_backends::{
    MemoryStore,
    clock::{SystemClock, SystemEntropy},
    server::{self, Parts, ServerConfig, Trigger},
    threaded::ThreadedStore,
};
use dacapo_core::{
    InstanceName, NodeName,
    hooks::{Clock, NoHooks, World},
};
use dacapo_properties::Scenario as _;
use dacapo_service::{
    InstanceConfig, Machine,
    driver::{self, TcpConnect},
};
use dacapo_web::{Books, Site, SiteConfig, doors::Doors, follower, vault::Vault};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A bank that runs until it is dropped.
pub(crate) struct Bank {
    pub(crate) books: Arc<Books>,
    pub(crate) site: Arc<Site>,
    bus: SocketAddr,
    follower: Option<(JoinHandle<()>, watch::Sender<bool>)>,
    /// Instances end when nobody could ask them to any more.
    _running: (Trigger, Vec<watch::Sender<bool>>),
}

fn world(node: &str) -> World {
    World {
        node: NodeName::of(node),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy::new()),
        hooks: Arc::new(NoHooks),
    }
}

/// Runs a story at a bank.
pub(crate) fn at_a_bank(config: SiteConfig, story: impl AsyncFnOnce(&mut Bank)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut bank = Bank::open(config).await;
        story(&mut bank).await;
    });
}

impl Bank {
    async fn open(config: SiteConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bus = listener.local_addr().unwrap();
        let port = Arc::new(ThreadedStore::start(MemoryStore::new(), 2).unwrap());
        let (trigger, shutdown) = Trigger::new();
        let parts = Parts {
            listener: server::tcp(listener),
            port,
            world: world("bus"),
            config: ServerConfig::default(),
            shutdown,
        };
        tokio::spawn(server::serve(parts));

        let (mut doors, mut running) = (Vec::new(), Vec::new());
        for spec in dacapo_bank::bank().services() {
            let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
            doors.push((spec.name.to_string(), door.local_addr().unwrap().to_string()));
            let name = format!("{}-1", spec.name);
            let machine = (spec.make)(InstanceConfig::new(InstanceName::of(name.clone()), 1));
            running.push(spawn(machine, bus, Some(door), world(&name)).1);
        }
        let door = |name: &str| doors.iter().find(|(of, _)| of == name).map(|(_, door)| door.clone()).unwrap();
        let doors = Doors {
            users: door("users"),
            accounts: door("accounts"),
            transactions: door("transactions"),
            bus: bus.to_string(),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let vault = Vault::open(None, Arc::clone(&clock)).unwrap();
        let books = Books::new();
        let site = Site::new(Arc::clone(&books), vault, doors, clock, config);
        let mut bank = Self { books, site, bus, follower: None, _running: (trigger, running) };
        bank.follow();
        bank
    }

    /// Begins a life of the books.
    pub(crate) fn follow(&mut self) {
        let config = InstanceConfig::new(InstanceName::of("web-1"), world("web").entropy.next_u64());
        let (task, shutdown) = spawn(follower::machine(&self.books, config), self.bus, None, world("web"));
        self.follower = Some((task, shutdown));
    }

    /// Kills whoever follows the log, and throws away what it had gathered.
    pub(crate) async fn lose_the_books(&mut self) {
        let (task, _) = self.follower.take().expect("somebody follows");
        task.abort();
        let _ = task.await;
        // A life that nobody feeds.
        drop(self.books.begin());
    }

    /// A visitor without a cookie.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { routes: self.site.router(), cookie: String::new(), token: String::new() }
    }
}

fn spawn(
    machine: Box<dyn Machine>,
    bus: SocketAddr,
    door: Option<TcpListener>,
    world: World,
) -> (JoinHandle<()>, watch::Sender<bool>) {
    let (shutdown, asked) = watch::channel(false);
    let connector = TcpConnect::new(bus.to_string());
    let task = tokio::spawn(async move {
        driver::run(machine, connector, door.map(server::tcp), world, asked).await.unwrap();
    });
    (task, shutdown)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Somebody with a browser that keeps one cookie and runs no script.
pub(crate) struct Visitor {
    routes: Router,
    pub(crate) cookie: String,
    pub(crate) token: String,
}

impl Visitor {
    async fn call(&mut self, request: Request<Body>) -> Answer {
        let response = TowerToHyperService::new(self.routes.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        if let Some(cookie) = parts.headers.get(header::SET_COOKIE) {
            cookie.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.get_as(path, &[]).await
    }

    pub(crate) async fn get_as(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path).header("cookie", &self.cookie);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "127.0.0.1:1");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.call(request.body(Body::empty()).unwrap()).await;
        if let Some((_, rest)) = answer.body.split_once("name=\"token\" value=\"") {
            rest.split('"').next().unwrap().clone_into(&mut self.token);
        }
        answer
    }

    /// Sends a form with the page's token.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token.clone();
        let mut all = vec![("token", token.as_str())];
        all.extend(fields);
        self.post_as(path, &all, &[("accept", "text/html")]).await
    }

    /// Sends a form as the script does; its outcome.
    pub(crate) async fn ask(&mut self, path: &str, request: u64, fields: &[(&str, &str)]) -> Value {
        let (token, request) = (self.token.clone(), format!("{request:032x}"));
        let mut all = vec![("token", token.as_str()), ("request", &request)];
        all.extend(fields);
        let answer = self.post_as(path, &all, &[("accept", "application/json")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()
    }

    pub(crate) async fn post_as(&mut self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut request = Request::post(path)
            .header("host", "127.0.0.1:1")
            .header("cookie", &self.cookie)
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(Body::from(body.join("&"))).unwrap()).await
    }

    /// Signs up.
    pub(crate) async fn sign_up(&mut self, name: &str) {
        self.get("/").await;
        let answer = self.post("/sign-up", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        self.get("/").await;
    }

    /// Signs up, opens `NAME-purse`, and pays in so many pounds.
    pub(crate) async fn with_money(&mut self, name: &str, pounds: &str) {
        self.sign_up(name).await;
        assert_eq!(self.ask("/open", 1, &[("name", "Purse")]).await["outcome"], "accepted");
        let deposit = [("account", &*format!("{name}-purse")), ("amount", pounds)];
        assert_eq!(self.ask("/deposit", 2, &deposit).await["outcome"], "accepted");
    }

    /// What the only account holds, in pence.
    pub(crate) async fn balance(&mut self) -> u64 {
        self.get("/init").await.json()["accounts"][0]["balance"].as_u64().unwrap()
    }
}

/// Everybody's.
pub(crate) const PASSWORD: &str = "four words and more";

/// Longer than anything takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
