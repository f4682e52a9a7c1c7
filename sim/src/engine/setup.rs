//! How the processes of a run are set up, whichever engine starts them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dacapo_backends::server::{ServerConfig, Tokens};
use dacapo_core::{
    Event, InstanceName, NodeName, ServiceName, TokenName, Version, WallTime,
    access::{Glob, PublishRight, Rights, Secret, Token, TokenBook},
    planted::Planted,
};
use dacapo_service::{HandlerFault, InstanceConfig, instance::HandlerFaults};

use crate::{engine::chance::Chance, fault::Harm, plan::Plan};

pub(crate) fn planted(plan: &Plan) -> Planted {
    plan.bug.map_or(Planted::NONE, Planted::bug)
}

/// The token of all instances, of the administrator, of the operator, of the stranger, and one that counts no more.
pub(crate) const INSTANCES: &str = "instances";
pub(crate) const ADMINISTRATOR: &str = "administrator";
pub(crate) const STRANGER: &str = "stranger";
pub(crate) const REVOKED: &str = "revoked";
pub(crate) const OPERATOR: &str = "operator";

/// The secret of a token; in a simulation nobody has to be kept from guessing it.
pub(crate) fn secret(name: &str) -> Secret {
    let mut random = [0; 32];
    random.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    Secret::of(random)
}

/// What a bus that demands tokens knows.
pub(crate) fn tokens() -> TokenBook {
    let services = Rights { read: false, administer: false, ..Rights::all() };
    let administrator = Rights { administer: true, ..Rights::default() };
    // What nobody takes, on keys that nobody looks at: so that something of his is let in as well.
    let (types, keys) = (Glob::of("Rumour"), Glob::of("rumour-*"));
    let stranger = Rights { publish: vec![PublishRight { types, keys }], ..Rights::default() };
    let token = |(name, rights): (&'static str, Rights)| Token {
        name: TokenName::of(name),
        hash: secret(name).hash(),
        rights,
        expires: None,
        made: WallTime(0),
        revoked: name == REVOKED,
        version: Version(1),
    };
    let notes = PublishRight { types: Glob::of("Noted"), keys: Glob::of("note-*") };
    let operator = Rights { publish: vec![notes], read: true, administer: true, ..Rights::default() };
    let tokens = [
        (OPERATOR, operator),
        (INSTANCES, services),
        (ADMINISTRATOR, administrator),
        (STRANGER, stranger),
        (REVOKED, Rights::all()),
    ];
    tokens.map(token).into_iter().collect()
}

/// The server's limits and patience: short waits, so that minutes of trouble fit into seconds.
pub(crate) fn server_config(plan: &Plan) -> ServerConfig {
    let settings = &plan.settings;
    ServerConfig {
        limits: settings.limits.clone(),
        planted: planted(plan),
        tokens: if settings.guarded { Tokens::Fixed(Arc::new(tokens())) } else { Tokens::Ignored },
        request_deadline: Duration::from_micros(settings.request_deadline_us),
        header_deadline: Duration::from_secs(2),
        close_deadline: Duration::from_millis(200),
        drain_deadline: Duration::from_millis(300),
        shutdown_deadline: Duration::from_millis(400),
        restart_first: Duration::from_millis(20),
        restart_max: Duration::from_millis(300),
        ..ServerConfig::default()
    }
}

/// A life of an instance. It begins with a rebuild if it must, or if the plan's settings say so of this life.
pub(crate) fn instance_config(
    plan: &Plan,
    chance: &Chance,
    (host, life): (&NodeName, u64),
    rebuild: bool,
    handler_faults: Option<HandlerFaults>,
) -> InstanceConfig {
    let settings = &plan.settings;
    let identity = (host.as_str(), life);
    let incarnation = chance.number("incarnation", &identity) >> 11;
    let drawn = chance.happens("rebuild at start", &identity, settings.rebuild_permille);
    InstanceConfig {
        credit: settings.credit,
        states_max: settings.states_max,
        request_deadline: Duration::from_micros(settings.request_deadline_us),
        reconnect_first: Duration::from_micros(settings.reconnect_first_us),
        reconnect_max: Duration::from_micros(settings.reconnect_max_us),
        rebuild_at_start: rebuild || drawn,
        reconcile_every: Some(Duration::from_micros(settings.reconcile_every_us)),
        record: true,
        bearer: settings.guarded.then(|| secret(INSTANCES)),
        planted: planted(plan),
        handler_faults,
        ..InstanceConfig::new(InstanceName::of(host.as_str()), incarnation)
    }
}

/// The plan's handler faults of a service, as a function of event and attempt. None strikes after the healing.
pub(crate) fn handler_faults(
    plan: &Plan,
    chance: &Chance,
    service: &ServiceName,
    healed: &Arc<AtomicBool>,
) -> Option<HandlerFaults> {
    let of = |what: &Harm| match what {
        Harm::FailingHandler { service: of, share_permille, attempts } if of == service => {
            Some((*share_permille, *attempts))
        }
        _ => None,
    };
    let failing: Vec<(u32, u32, u32)> =
        plan.faults.iter().filter_map(|fault| of(&fault.what).map(|(share, n)| (fault.id, share, n))).collect();
    if failing.is_empty() {
        return None;
    }
    let (chance, healed) = (chance.clone(), Arc::clone(healed));
    Some(Arc::new(move |event: &Event, attempt: u32| {
        if event.event_type.is_reserved() || healed.load(Ordering::Relaxed) {
            return None;
        }
        let strikes = |(id, share, attempts): &&(u32, u32, u32)| {
            attempt <= *attempts && chance.happens("handler fault", &(*id, event.id.as_str()), *share)
        };
        failing.iter().find(strikes).map(|(id, ..)| HandlerFault::Fail(format!("fault {id} of the plan")))
    }))
}
