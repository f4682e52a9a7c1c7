//! What goes into an instance and what comes out of it, and the trait by which drivers and engines hold one.

use dacapo_core::{
    Now, Timestamp,
    trace::What,
    wire::{FromBus, ToBus},
};

use crate::service::{Request, Response, Route};

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The process has started.
    Started,
    /// The connection that [`Output::Connect`] asked for is open.
    Connected,
    /// A frame came.
    Frame(FromBus),
    /// The connection could not be opened, or ended. Not said of one that [`Output::Close`] closed.
    Disconnected,
    /// A request came from outside.
    Request {
        /// Its number, never used twice in an instance's life.
        id: u64,
        /// The request.
        request: Request,
    },
    /// Who asked went away.
    RequestGone {
        /// Its number.
        id: u64,
    },
    /// The process is asked to end: say `bye`, then [`Output::Exit`].
    Shutdown,
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What an instance wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection to the bus. Answered by [`Input::Connected`] or [`Input::Disconnected`].
    Connect,
    /// Send a frame.
    Send(ToBus),
    /// Close the connection; nothing more of it is wanted.
    Close,
    /// Answer a request.
    Respond {
        /// Its number.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// A record for the trace; only if the configuration asks for them.
    Record(What),
    /// The process may end.
    Exit,
}

/// An instance of any service, as drivers and engines hold it.
pub trait Machine: Send {
    /// Takes one input. Drain [`poll_output`](Self::poll_output) afterwards.
    fn handle_input(&mut self, now: Now, input: Input);
    /// The next output, in order.
    fn poll_output(&mut self) -> Option<Output>;
    /// When [`Input::Timeout`] is due.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// The routes that [`Input::Request`] may name.
    fn routes(&self) -> Vec<Route>;
    /// Which life of the instance this is.
    fn incarnation(&self) -> u64;
    /// Panics if the machine has broken one of its own rules.
    fn check_invariants(&self);
    /// A digest of the state, without absolute time.
    fn digest(&self) -> u64;
    /// A copy, for engines that branch.
    fn boxed_clone(&self) -> Box<dyn Machine>;
}
