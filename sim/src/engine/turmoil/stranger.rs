//! The stranger: reaches the bus, and means it no good.
//!
//! He says what [`hostile`](crate::engine::hostile) has him say, and does besides what only bytes can: messages in fragments
//! and halves of them, bytes that are no protocol, sizes that nobody could hold, connections on which nothing comes. What
//! he gets back is looked at where nobody may let him in; everything else is judged by the properties, which must not
//! notice that he is there, and by `tokens_are_obeyed`.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use dacapo_core::{access::Secret, wire::ToBus};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    pin,
    time::{sleep, timeout},
};

use super::{
    net::{BUS_PORT, SimStream, connect},
    stage::{Life, Stage},
};
use crate::{
    cast,
    engine::{
        hostile::{Shows, Visit},
        store::Accusation,
    },
    marks,
};

/// Between two tries.
const PAUSE_MS: (u64, u64) = (5, 120);
/// How long he listens to the answer.
const PATIENCE: Duration = Duration::from_millis(60);
/// How long he holds a connection on which he says half of something: longer than anything waits for him.
const DAWDLES: Duration = Duration::from_secs(3);
/// Connections that he holds and does nothing with.
const HELD_MAX: usize = 16;
/// He holds every so-manieth.
const HOLDS_ONE_IN: u64 = 5;

/// Continuation, text, binary: of WebSocket, with and without the bit of the last fragment.
const CONTINUATION: u8 = 0x00;
const TEXT_BEGUN: u8 = 0x01;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const LAST: u8 = 0x80;

/// Goes on until he is taken away. He does not wait for one visit to end before he comes again.
pub(super) async fn run(stage: Arc<Stage>, life: Arc<Life>) {
    let mut tries = 0_u64;
    let mut held: VecDeque<SimStream> = VecDeque::new();
    let mut visits = FuturesUnordered::new();
    loop {
        tries += 1;
        let identity = (life.number, tries);
        let pause = sleep(Duration::from_millis(stage.chance.between("stranger pauses", &identity, PAUSE_MS)));
        pin!(pause);
        loop {
            tokio::select! {
                biased;
                () = &mut pause => break,
                Some(stream) = visits.next(), if !visits.is_empty() => held.extend(stream),
            }
        }
        while held.len() > HELD_MAX {
            held.pop_front();
        }
        visits.push(visit(Arc::clone(&stage), Arc::clone(&life), tries));
    }
}

/// One connection; he gives back what he goes on holding.
async fn visit(stage: Arc<Stage>, life: Arc<Life>, number: u64) -> Option<SimStream> {
    let connecting = connect(Arc::clone(&stage), Arc::clone(&life), cast::bus(), BUS_PORT);
    let mut stream = timeout(PATIENCE, connecting).await.ok()?.ok()?;
    let drawn = stage.chance.number("stranger tries", &(life.number, number));
    let attempt = Attempt::of(drawn, number, stage.plan.settings.guarded);
    // The bus may close at any byte of it.
    stream.write_all(&attempt.opening).await.ok()?;
    attempt.carry_out(&stage, &life, &mut stream).await;
    number.is_multiple_of(HOLDS_ONE_IN).then_some(stream)
}

/// What comes within his patience; none if the bus has closed.
async fn listen(stream: &mut SimStream) -> Option<Vec<u8>> {
    let mut heard = vec![0; 4_096];
    match timeout(PATIENCE, stream.read(&mut heard)).await {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(length)) => {
            heard.truncate(length);
            Some(heard)
        }
        Err(_) => Some(Vec::new()),
    }
}

/// The status of an HTTP answer, if that is what it is.
fn status(answer: &[u8]) -> Option<u16> {
    let text = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What he sends: at once, and after the first answer.
#[derive(Clone)]
struct Attempt {
    opening: Vec<u8>,
    says: Vec<u8>,
    /// He waits for longer than anybody waits for him.
    dawdles: bool,
    /// He reads what he is told.
    reads: bool,
    /// Nobody may let him in with this.
    must_be_refused: bool,
}

impl Attempt {
    fn of(drawn: u64, number: u64, guarded: bool) -> Self {
        let visit = Visit::of(drawn, number, guarded);
        let shows = if guarded { visit.shows } else { Shows::Nothing };
        let said = Self {
            opening: request("GET /v1/bus", &upgrade_headers(shows), ""),
            says: visit.says.iter().flat_map(|frame| text(&frame.encode())).collect(),
            dawdles: drawn.is_multiple_of(17),
            reads: visit.reads,
            must_be_refused: guarded && shows.is_refused_at_the_door(),
        };
        let bytes = |says: Vec<u8>| Self { says, reads: true, ..said.clone() };
        let asks = |line: &str, body: &str| Self {
            opening: request(line, &authorization(shows), body),
            says: Vec::new(),
            dawdles: false,
            reads: true,
            must_be_refused: guarded,
        };
        let dawdling = |opening: &[u8]| Self {
            opening: opening.to_vec(),
            says: Vec::new(),
            dawdles: true,
            reads: true,
            must_be_refused: false,
        };
        let first = visit.says.first().map_or_else(String::new, ToBus::encode);
        // The upper half, since the visit was drawn from the lower bits.
        match if number % 4 == 1 { u64::MAX } else { (drawn >> 48) % 40 } {
            0 => bytes(text(&"[".repeat(2_000))),
            1 => bytes(frame(TEXT, &[0xFF, 0xFE, 0x00, 0xC3])),
            2 => bytes(frame(BINARY, b"none of this")),
            // The beginning of a message of a hundred megabytes.
            3 => bytes([&[TEXT, 0xFF][..], &100_000_000_u64.to_be_bytes(), &[0; 4]].concat()),
            4 => bytes(text("{\"kind\":\"hello\",\"service\":7}")),
            // In three pieces, with a ping between two of them.
            5 => bytes(in_pieces(first.as_bytes())),
            // What goes on with nothing that was begun.
            6 => bytes(frame(CONTINUATION | LAST, first.as_bytes())),
            // Two messages begun.
            7 => bytes([frame(TEXT_BEGUN, b"{"), frame(TEXT_BEGUN, b"{")].concat()),
            // Unmasked, as no client may; of a kind that does not exist.
            8 => bytes(vec![TEXT, 2, b'{', b'}']),
            9 => bytes(frame(0x83, b"?")),
            // Half a message, and then nothing.
            10 => Self { dawdles: true, ..bytes(half(frame(TEXT, b"{\"kind\":\"ping\",\"nonce\":1}"))) },
            11 => bytes((0..200).flat_map(|n: u8| frame(PING, &[n])).collect()),
            12 => bytes((0..40).flat_map(|_| text("nonsense")).collect()),
            13 => Self { opening: drawn.to_le_bytes().repeat(50), says: Vec::new(), ..said.clone() },
            14 => dawdling(b"GET /v1/events HTTP/1.1\r\nhost: b"),
            15 => dawdling(b""),
            16 => Self {
                opening: request("GET /v1/bus", &format!("x: {}\r\n", "y".repeat(40_000)), ""),
                says: Vec::new(),
                ..said.clone()
            },
            17 if guarded => asks("POST /v1/events", &published("Rumour", "acc-1", number, drawn)),
            18 if guarded => asks("POST /v1/services/accounts/lanes/acc-1/skip", ""),
            19 if guarded => asks("GET /v1/backup", ""),
            20 if guarded => asks("GET /v1/events", ""),
            21 if guarded => asks("DELETE /v1/tokens/instances", ""),
            _ => said,
        }
    }

    async fn carry_out(&self, stage: &Stage, life: &Life, stream: &mut SimStream) {
        let mut heard = Some(Vec::new());
        if !self.says.is_empty() {
            heard = listen(stream).await;
            self.look_at(stage, life, heard.as_deref());
            let _ = stream.write_all(&self.says).await;
        }
        if !self.reads {
            return sleep(PATIENCE * 4).await;
        }
        if self.dawdles {
            let mut byte = [0];
            let end = async { while let Ok(1..) = stream.read(&mut byte).await {} };
            if timeout(DAWDLES, end).await.is_ok() {
                stage.mark(&life.host, marks::DAWDLER_CUT);
            }
        }
        if heard.is_some() {
            let heard = listen(stream).await;
            self.look_at(stage, life, heard.as_deref());
        }
    }

    /// Whoever may not be let in is told so.
    fn look_at(&self, stage: &Stage, life: &Life, heard: Option<&[u8]>) {
        let Some(heard) = heard else { return };
        let holds = |code: &[u8]| heard.windows(code.len()).any(|window| window == code);
        if holds(b"\"malformed\"") || holds(b"\"too_large\"") || matches!(status(heard), Some(400 | 413 | 431)) {
            stage.mark(&life.host, marks::NONSENSE_REFUSED);
        }
        match status(heard) {
            Some(401 | 403) if self.must_be_refused => stage.mark(&life.host, marks::TURNED_AWAY_AT_THE_DOOR),
            Some(status @ (101 | 200..=399)) if self.must_be_refused => {
                let request = String::from_utf8_lossy(&self.opening);
                let line = request.lines().next().unwrap_or_default().to_owned();
                stage.accuse(Accusation {
                    property: "tokens_are_obeyed",
                    sentence: "nobody is let in by a token that is unknown or was revoked, nor does what his own does not say",
                    message: format!("the stranger sent {line} and was answered with {status}"),
                });
            }
            _ => {}
        }
    }
}

fn published(event_type: &str, key: &str, number: u64, drawn: u64) -> String {
    format!(
        "[{{\"id\":\"posted-{number}-{drawn:x}\",\"type\":\"{event_type}\",\"key\":\"{key}\",\"source\":\"stranger\"}}]"
    )
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: bus\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn authorization(shows: Shows) -> String {
    let header = |secret: Secret| format!("authorization: Bearer {}\r\n", secret.reveal());
    shows.secret().map(header).unwrap_or_default()
}

fn upgrade_headers(shows: Shows) -> String {
    let rest = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("{}{rest}", authorization(shows))
}

fn text(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

/// The first half of something.
fn half(mut whole: Vec<u8>) -> Vec<u8> {
    whole.truncate(whole.len() / 2);
    whole
}

/// A text in three fragments, with a ping before the last.
fn in_pieces(text: &[u8]) -> Vec<u8> {
    let (head, rest) = text.split_at(text.len() / 3);
    let (middle, tail) = rest.split_at(rest.len() / 2);
    let pieces =
        [frame(TEXT_BEGUN, head), frame(CONTINUATION, middle), frame(PING, b"?"), frame(CONTINUATION | LAST, tail)];
    pieces.concat()
}

/// A frame of WebSocket, masked with zeros, as clients must mask.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length as u8),
        Ok(length) => {
            bytes.push(0xFE);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0xFF);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
