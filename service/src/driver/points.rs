//! The points at which a simulator may interfere with an instance, and what each is about.
//!
//! Identities are stateless: they depend on what is sent and never on how much was sent before, so that taking one fault
//! out of a plan re-times nothing else.

use dacapo_core::{
    digest::digest_of,
    hooks::{Identity, Point},
    wire::ToBus,
};

use crate::{instance::Output, service::Request};

/// What an answer to this request is about: the idempotency key, or the whole request if it has none.
pub fn identity_of_request(request: &Request) -> Identity {
    Identity::Request(match &request.idempotency_key {
        Some(key) => digest_of(0, key),
        None => digest_of(0, request),
    })
}

/// The point that carrying out this output passes; none for what does nothing to the outside. `asked` tells the identity
/// of an open request by its number ([`identity_of_request`]).
pub fn point_of(output: &Output, asked: impl Fn(u64) -> Identity) -> Option<Point> {
    let (name, identity) = match output {
        Output::Send(frame) => point_of_frame(frame),
        Output::Respond { id, .. } => ("instance respond", asked(*id)),
        Output::Connect => ("instance connect", Identity::None),
        Output::Close | Output::Record(_) | Output::Exit => return None,
    };
    Some(Point { name, identity })
}

fn point_of_frame(frame: &ToBus) -> (&'static str, Identity) {
    match frame {
        ToBus::Complete(complete) => {
            ("instance send complete", Identity::Delivery(complete.position, complete.token.attempt))
        }
        ToBus::Nack(nack) => ("instance send nack", Identity::Delivery(nack.position, nack.token.attempt)),
        ToBus::Extend(extend) => ("instance send extend", Identity::Delivery(extend.position, extend.token.attempt)),
        // All batches of one request end with the same key, whatever was decided.
        ToBus::Publish(publish) => {
            ("instance send publish", Identity::Request(digest_of(0, &publish.events.last().map(|event| &event.key))))
        }
        ToBus::Read(read) => ("instance send read", Identity::Request(digest_of(0, &read.what))),
        ToBus::Hello(_) => ("instance send hello", Identity::None),
        ToBus::Ready(_) => ("instance send ready", Identity::None),
        ToBus::Rebuild(_) => ("instance send rebuild", Identity::None),
        ToBus::Credit(_) => ("instance send credit", Identity::None),
        ToBus::Ping(_) => ("instance send ping", Identity::None),
        ToBus::Bye(_) => ("instance send bye", Identity::None),
    }
}
