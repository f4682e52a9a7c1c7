//! Two hosts and a clock: what one says, what the other hears, and when.

use dacapo_core::NodeName;

use super::*;
use crate::{
    engine::chance::Chance,
    fault::{Family, Fault, Harm, Trigger},
};

const PORT: u16 = 80;
/// What a link takes.
const HOP_US: u64 = 5_000;

/// Two hosts, the second of which listens, and a clock.
struct World {
    network: Network,
    faults: FaultTable,
    now_us: u64,
    other: Arc<Life>,
}

fn names() -> (NodeName, NodeName) {
    (NodeName::of("one"), NodeName::of("other"))
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl World {
    /// With faults that each begin at 100 ms and last for 100 ms.
    fn new(harms: Vec<Harm>) -> Self {
        let (one, other) = names();
        let fault = |(id, what)| Fault {
            id,
            family: Family::Partition,
            trigger: Trigger::At { us: 100_000 },
            duration_us: 100_000,
            what,
        };
        let faults: Vec<Fault> = (1..).zip(harms).map(fault).collect();
        let links = Links::new(&Arc::from([one.clone(), other.clone()]), Box::new(|_, _| HOP_US));
        let mut world = Self {
            network: Network::new(links, 2, 1_000),
            faults: FaultTable::new(Chance::new(1, None), &faults),
            now_us: 0,
            other: Arc::new(Life::new(other, HostId(1), 1)),
        };
        world.network.set_reachable(HostId(0), Reachable::Runs);
        world.network.set_reachable(HostId(1), Reachable::Runs);
        world.network.listen(&world.other, PORT).expect("the port is free");
        world
    }

    fn moment(faults: &FaultTable, now_us: u64) -> Moment<'_> {
        Moment { now_us, faults }
    }

    /// Lets time pass, a millisecond at a time, so that what arrives is answered when it arrives.
    fn wait(&mut self, us: u64) {
        for _ in 0..us / 1_000 {
            self.now_us += 1_000;
            self.faults.begin_due(self.now_us);
            self.faults.end_due(self.now_us);
            self.network.arrive(Self::moment(&self.faults, self.now_us));
        }
    }

    fn open(&mut self) -> ConnectionId {
        let moment = Self::moment(&self.faults, self.now_us);
        self.network.open(moment, HostId(0), HostId(1), PORT)
    }

    /// Both ends of an open connection.
    fn connected(&mut self) -> (EndId, EndId) {
        let id = self.open();
        self.wait(HOP_US);
        assert_eq!(self.network.poll_accept(&self.other, PORT, &context()), Poll::Ready((id, HostId(0))));
        self.wait(HOP_US);
        assert!(matches!(self.network.poll_opened(id, &context()), Poll::Ready(Ok(()))));
        ((id, Side::Caller), (id, Side::Listener))
    }

    fn write(&mut self, end: EndId, text: &str) {
        let moment = Self::moment(&self.faults, self.now_us);
        let written = self.network.poll_write(moment, end, &context(), text.as_bytes());
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == text.len()), "{written:?}");
    }

    /// What is there to read, in words.
    fn read(&mut self, end: EndId) -> String {
        let mut room = [0; 64];
        let mut room = ReadBuf::new(&mut room);
        match self.network.poll_read(end, &context(), &mut room) {
            Poll::Pending => "nothing yet".to_owned(),
            Poll::Ready(Ok(())) if room.filled().is_empty() => "the end".to_owned(),
            Poll::Ready(Ok(())) => String::from_utf8_lossy(room.filled()).into_owned(),
            Poll::Ready(Err(error)) => error.kind().to_string(),
        }
    }

    fn close(&mut self, end: EndId, silent: bool) {
        let moment = Self::moment(&self.faults, self.now_us);
        self.network.close(moment, end, silent);
    }
}

#[test]
fn bytes_arrive_in_order_after_a_hop_and_then_the_end() {
    let mut world = World::new(Vec::new());
    let (caller, listener) = world.connected();
    world.write(caller, "a");
    world.wait(HOP_US - 1_000);
    world.write(caller, "b");
    assert_eq!(world.read(listener), "nothing yet");
    world.wait(1_000);
    assert_eq!(world.read(listener), "a");
    world.close(caller, false);
    world.wait(HOP_US);
    assert_eq!((world.read(listener), world.read(listener)), ("b".to_owned(), "the end".to_owned()));
    world.write(listener, "c");
    world.wait(HOP_US * 2);
    assert_eq!(world.read(listener), "connection reset", "nobody holds the other end any more");
}

#[test]
fn who_closes_over_unread_bytes_resets() {
    let mut world = World::new(Vec::new());
    let (caller, listener) = world.connected();
    world.write(caller, "a");
    world.wait(HOP_US);
    world.close(listener, false);
    world.wait(HOP_US);
    assert_eq!(world.read(caller), "connection reset");
}

#[test]
fn a_peer_that_does_not_read_stops_the_writer() {
    let mut world = World::new(Vec::new());
    let (caller, listener) = world.connected();
    let page = "x".repeat(WINDOW_BYTES / 4);
    for _ in 0..4 {
        world.write(caller, &page);
    }
    let moment = World::moment(&world.faults, world.now_us);
    assert!(world.network.poll_write(moment, caller, &context(), b"x").is_pending());
    world.wait(HOP_US);
    assert_eq!(world.read(listener).len(), 64);
    world.write(caller, "xy");
}

#[test]
fn what_a_link_holds_back_arrives_at_once_and_in_order() {
    let (a, b) = names();
    let mut world = World::new(vec![Harm::Hold { a, b }]);
    let (caller, listener) = world.connected();
    world.wait(100_000);
    world.write(caller, "a");
    world.wait(50_000);
    world.write(caller, "b");
    assert_eq!(world.read(listener), "nothing yet");
    world.wait(60_000);
    assert_eq!(world.read(listener), "ab");
}

#[test]
fn after_a_loss_a_connection_is_silently_dead_that_way() {
    let (a, b) = names();
    let mut world = World::new(vec![Harm::PartitionOneWay { from: vec![a], to: vec![b] }]);
    let (caller, listener) = world.connected();
    world.wait(100_000);
    world.write(caller, "lost");
    world.write(listener, "back");
    world.wait(HOP_US);
    assert_eq!(world.read(caller), "back", "the way back is open");
    world.wait(200_000);
    world.write(caller, "late");
    world.close(caller, false);
    world.wait(HOP_US);
    assert_eq!(world.read(listener), "nothing yet");
    let (again, _) = world.connected();
    assert_ne!(again.0, caller.0, "a new connection is not touched");
}

#[test]
fn a_machine_that_is_off_says_nothing_and_one_that_is_back_resets() {
    let mut world = World::new(Vec::new());
    let (caller, listener) = world.connected();
    world.other.die(true);
    world.close(listener, true);
    world.network.set_reachable(HostId(1), Reachable::Gone);
    world.write(caller, "a");
    let id = world.open();
    world.wait(HOP_US * 10);
    assert_eq!(world.read(caller), "nothing yet");
    assert!(world.network.poll_opened(id, &context()).is_pending());
    world.network.set_reachable(HostId(1), Reachable::Runs);
    world.write(caller, "b");
    world.wait(HOP_US * 2);
    assert_eq!(world.read(caller), "connection reset");
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let mut world = World::new(Vec::new());
    let knocking = world.open();
    world.wait(HOP_US);
    let moment = World::moment(&world.faults, world.now_us);
    world.network.deafen(moment, &world.other, PORT);
    let late = world.open();
    world.wait(HOP_US * 2);
    let kind = |opened: Poll<io::Result<()>>| match opened {
        Poll::Ready(Err(error)) => Some(error.kind()),
        _ => None,
    };
    assert_eq!(kind(world.network.poll_opened(late, &context())), Some(io::ErrorKind::ConnectionRefused));
    assert_eq!(
        kind(world.network.poll_opened(knocking, &context())),
        Some(io::ErrorKind::ConnectionReset),
        "it was never let in"
    );
}

#[test]
fn a_dead_lifes_listener_gives_way_to_the_next_life_and_takes_nothing_from_it() {
    let mut world = World::new(Vec::new());
    world.network.listen(&world.other, PORT).expect_err("the port is taken");
    world.other.die(false);
    let next = Arc::new(Life::new(world.other.host.clone(), HostId(1), 2));
    world.network.listen(&next, PORT).expect("the dead do not listen");
    let moment = World::moment(&world.faults, world.now_us);
    world.network.deafen(moment, &world.other, PORT);
    let id = world.open();
    world.wait(HOP_US);
    assert_eq!(world.network.poll_accept(&next, PORT, &context()), Poll::Ready((id, HostId(0))));
}

#[test]
fn breaking_off_loses_what_is_under_way() {
    let mut world = World::new(Vec::new());
    let (caller, listener) = world.connected();
    world.write(caller, "ab");
    world.network.break_off(HostId(1), HostId(0));
    world.wait(HOP_US);
    assert_eq!(world.read(listener), "connection reset");
    assert_eq!(world.read(caller), "connection reset");
}
