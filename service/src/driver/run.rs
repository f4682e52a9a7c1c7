//! The loop: wait for whatever comes first, tell the machine, carry out what it wants.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::serve::Listener;
use dacapo_core::{
    hooks::{Identity, Point, Verdict, World},
    trace::What,
    wire::{FromBus, ToBus},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Utf8Bytes};

use super::{
    accept,
    connect::{Connect, open},
    http::{Door, FromHttp},
    points::{identity_of_request, point_of},
    socket::{Heard, Socket},
};
use crate::{
    instance::{Input, Machine, Output},
    service::Response,
};

/// How long the last frames and answers may take to leave at a graceful end.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// Frames taken in a row before requests and timers get their turn: a bus that never pauses starves nobody.
const FRAMES_IN_A_ROW_MAX: u32 = 64;

/// Why a driver ended before it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A simulator stopped the process here.
    #[error("the process died at {point:?}; start it again")]
    Died {
        /// Where.
        point: Point,
    },
}

/// Runs an instance until it is asked to end (`true` on `shutdown`) and has said goodbye. With a listener, the service's
/// routes are served on it.
pub async fn run<C, L>(
    machine: Box<dyn Machine>,
    connector: C,
    http: Option<L>,
    world: World,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), DriverError>
where
    C: Connect,
    L: Listener,
    L::Addr: Debug,
{
    let (inbox_in, inbox) = mpsc::unbounded_channel();
    let door = Door::new(machine.routes(), inbox_in);
    let served = http.map(|listener| Served::start(listener, &door));
    let mut driver = Driver {
        machine,
        connector: &connector,
        world,
        door,
        inbox,
        socket: None,
        connecting: None,
        connections: 0,
        asked: BTreeMap::new(),
        exit: false,
        frames_in_a_row: 0,
    };
    let ended = driver.run(&mut shutdown).await;
    let reason = match &ended {
        Ok(()) => "it was asked to end".to_owned(),
        Err(error) => error.to_string(),
    };
    driver.world.record(What::Stopped { reason });
    if let (Ok(()), Some(served)) = (&ended, served) {
        served.finish().await;
    }
    ended
}

/// axum's accepting task; it ends with the driver, however that ends.
struct Served {
    task: JoinHandle<()>,
    stop: Arc<accept::Stop>,
}

impl Served {
    fn start<L>(listener: L, door: &Arc<Door>) -> Self
    where
        L: Listener,
        L::Addr: Debug,
    {
        let stop = Arc::new(accept::Stop::default());
        let task = tokio::spawn(accept::serve(listener, door.router(), Arc::clone(&stop)));
        Self { task, stop }
    }

    /// Lets answers that are under way leave.
    async fn finish(mut self) {
        self.stop.say();
        let _ = timeout(FAREWELL_DEADLINE, &mut self.task).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An open request of HTTP.
struct Asked {
    answer: oneshot::Sender<Response>,
    identity: Identity,
}

type Opening<'a, Io> = Pin<Box<dyn Future<Output = Result<WebSocketStream<Io>, String>> + Send + 'a>>;

struct Driver<'a, C: Connect> {
    machine: Box<dyn Machine>,
    connector: &'a C,
    world: World,
    door: Arc<Door>,
    inbox: mpsc::UnboundedReceiver<FromHttp>,
    socket: Option<Socket<C::Io>>,
    connecting: Option<Opening<'a, C::Io>>,
    connections: u64,
    asked: BTreeMap<u64, Asked>,
    exit: bool,
    frames_in_a_row: u32,
}

/// What the loop waited for.
enum Happened<Io> {
    Shutdown,
    Heard(Heard),
    Opened(Result<WebSocketStream<Io>, String>),
    Http(FromHttp),
    Timeout,
}

impl<C: Connect> Driver<'_, C> {
    async fn run(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(), DriverError> {
        self.world.record(What::Started { incarnation: self.machine.incarnation() });
        self.tell(Input::Started).await?;
        let mut told = false;
        while !self.exit {
            let happened = self.wait(shutdown, told).await;
            pause(&self.world).await;
            told |= matches!(happened, Happened::Shutdown);
            self.take(happened).await?;
        }
        if let Some(mut socket) = self.socket.take() {
            let _ = timeout(FAREWELL_DEADLINE, socket.flush()).await;
            socket.close().await;
        }
        Ok(())
    }

    /// Waits for whatever comes first. The bus before HTTP before timers: what lies in the socket may show that a
    /// deadline was kept.
    async fn wait(&mut self, shutdown: &mut watch::Receiver<bool>, told: bool) -> Happened<C::Io> {
        if self.frames_in_a_row >= FRAMES_IN_A_ROW_MAX {
            self.frames_in_a_row = 0;
            if self.time_left().is_some_and(|left| left.is_zero()) {
                return Happened::Timeout;
            }
            if let Ok(http) = self.inbox.try_recv() {
                return Happened::Http(http);
            }
        }
        let left = self.time_left();
        let happened = tokio::select! {
            biased;
            () = asked_to_end(shutdown), if !told => Happened::Shutdown,
            heard = hear(&mut self.socket) => Happened::Heard(heard),
            opened = opened(&mut self.connecting) => Happened::Opened(opened),
            Some(http) = self.inbox.recv() => Happened::Http(http),
            () = elapse(left) => Happened::Timeout,
        };
        match happened {
            Happened::Heard(_) => self.frames_in_a_row += 1,
            _ => self.frames_in_a_row = 0,
        }
        happened
    }

    fn time_left(&self) -> Option<Duration> {
        Some(self.machine.poll_timeout()?.since(self.world.clock.now().monotonic))
    }

    async fn take(&mut self, happened: Happened<C::Io>) -> Result<(), DriverError> {
        match happened {
            Happened::Shutdown => self.tell(Input::Shutdown).await,
            Happened::Heard(Heard::Text(text)) => self.take_text(&text).await,
            Happened::Heard(Heard::Ended(reason)) => self.disconnected(&reason).await,
            Happened::Opened(Ok(stream)) => {
                self.connecting = None;
                self.connections += 1;
                self.socket = Some(Socket::new(stream, self.connections));
                self.world.record(What::Connected { connection: self.connections });
                self.tell(Input::Connected).await
            }
            Happened::Opened(Err(reason)) => {
                self.connecting = None;
                tracing::info!(%reason, "the bus cannot be reached; trying again");
                self.tell(Input::Disconnected).await
            }
            Happened::Http(FromHttp::Request { id, request, answer }) => {
                self.asked.insert(id, Asked { answer, identity: identity_of_request(&request) });
                self.tell(Input::Request { id, request }).await
            }
            Happened::Http(FromHttp::Gone { id }) => {
                self.asked.remove(&id);
                self.tell(Input::RequestGone { id }).await
            }
            Happened::Timeout => {
                let now = self.world.clock.now().monotonic;
                if self.machine.poll_timeout().is_some_and(|due| due <= now) {
                    return self.tell(Input::Timeout).await;
                }
                Ok(())
            }
        }
    }

    async fn take_text(&mut self, text: &Utf8Bytes) -> Result<(), DriverError> {
        let connection = self.connections;
        let frames = match FromBus::decode(text) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(%error, "the bus speaks another language; is it of another version?");
                return self.disconnected(&error.to_string()).await;
            }
        };
        for frame in frames {
            if self.socket.is_none() {
                // The machine closed the connection: what came with the last message is not wanted any more.
                break;
            }
            if matches!(frame, FromBus::Welcome(_)) {
                self.door.welcomed.store(true, Ordering::Relaxed);
            }
            if self.world.hooks.recording() {
                self.world.record(What::FrameReceived { connection, frame: frame.clone().into() });
            }
            self.tell(Input::Frame(frame)).await?;
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: &str) -> Result<(), DriverError> {
        tracing::info!(%reason, "the connection to the bus has ended");
        self.drop_socket();
        self.tell(Input::Disconnected).await
    }

    /// Forgets the connection; returns it for a goodbye.
    fn drop_socket(&mut self) -> Option<Socket<C::Io>> {
        self.door.welcomed.store(false, Ordering::Relaxed);
        let socket = self.socket.take()?;
        self.world.record(What::Disconnected { connection: socket.connection });
        Some(socket)
    }

    async fn tell(&mut self, input: Input) -> Result<(), DriverError> {
        self.machine.handle_input(self.world.clock.now(), input);
        while let Some(output) = self.machine.poll_output() {
            self.carry_out(output).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, output: Output) -> Result<(), DriverError> {
        let asked = |id| self.asked.get(&id).map_or(Identity::None, |asked| asked.identity);
        if let Some(point) = point_of(&output, asked) {
            match self.world.hooks.before(point) {
                Verdict::Go | Verdict::Fail(_) => {}
                Verdict::Twice => {
                    if let Output::Send(frame) = &output {
                        self.send(frame.clone()).await;
                    }
                }
                Verdict::Delay(delay) => sleep(delay).await,
                Verdict::Lose => {
                    self.lose(&output);
                    return Ok(());
                }
                Verdict::Die => return Err(DriverError::Died { point }),
            }
        }
        match output {
            Output::Connect => self.connecting = Some(Box::pin(open(self.connector))),
            Output::Send(frame) => self.send(frame).await,
            Output::Close => {
                self.connecting = None;
                if let Some(socket) = self.drop_socket() {
                    socket.close().await;
                }
            }
            Output::Respond { id, response } => {
                if let Some(asked) = self.asked.remove(&id) {
                    // A caller who went away needs no answer.
                    let _ = asked.answer.send(response);
                }
            }
            Output::Record(what) => self.world.record(what),
            Output::Exit => self.exit = true,
        }
        Ok(())
    }

    /// An output that a simulator takes away. The caller of a lost answer goes on waiting; of a lost attempt to connect
    /// one hears as of a refused one.
    fn lose(&mut self, output: &Output) {
        match output {
            Output::Respond { id, .. } => drop(self.asked.remove(id)),
            Output::Connect => self.connecting = Some(Box::pin(async { Err("the attempt was lost".to_owned()) })),
            _ => {}
        }
    }

    async fn send(&mut self, frame: ToBus) {
        let Some(socket) = &mut self.socket else { return };
        let text = frame.encode();
        let connection = socket.connection;
        if self.world.hooks.recording() {
            self.world.record(What::FrameSent { connection, frame: frame.into() });
        }
        socket.send(text).await;
    }
}

/// A stopped process takes nothing in, however much has come.
async fn pause(world: &World) {
    while let Some(until) = world.hooks.paused_until() {
        let left = until.since(world.clock.now().monotonic);
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

async fn hear<Io>(socket: &mut Option<Socket<Io>>) -> Heard
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match socket {
        Some(socket) => socket.hear().await,
        None => pending().await,
    }
}

async fn opened<Io>(connecting: &mut Option<Opening<'_, Io>>) -> Result<WebSocketStream<Io>, String> {
    match connecting {
        Some(opening) => opening.await,
        None => pending().await,
    }
}

/// A dropped sender asks nothing any more.
async fn asked_to_end(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        pending::<()>().await;
    }
}

async fn elapse(left: Option<Duration>) {
    match left {
        None => pending().await,
        Some(left) if left.is_zero() => {}
        Some(left) => sleep(left).await,
    }
}
