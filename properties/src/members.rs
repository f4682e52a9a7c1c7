//! The instances of each service, as the bus's records show them: who is connected, ready, and with how much credit.
//!
//! A service is *settled* when every instance that a lane of it could stick to is connected, ready, and not about to be
//! replaced. What the records leave open counts as unsettled: an instance that went away may still own lanes until the
//! log says that it left.

use std::{collections::BTreeMap, hash::Hash as _};

use dacapo_core::{
    Event, InstanceName, NodeName, ServiceName,
    digest::StableHasher,
    store::service_key,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
};

/// One instance.
#[derive(Debug, Clone, Default, Hash)]
struct Member {
    connection: Option<u64>,
    ready: bool,
    credit: u32,
    /// A newer connection that says that it is this instance, and that the bus has not answered.
    greeting: Option<u64>,
}

impl Member {
    fn is_settled(&self) -> bool {
        self.connection.is_some() && self.ready && self.greeting.is_none()
    }
}

/// All instances of one bus's life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    /// Its node: instances number their connections too.
    bus: Option<NodeName>,
    connections: BTreeMap<u64, (ServiceName, InstanceName)>,
    services: BTreeMap<ServiceName, BTreeMap<InstanceName, Member>>,
}

impl Members {
    /// A bus begins a life, and knows nobody.
    pub(crate) fn of(bus: &NodeName) -> Self {
        Self { bus: Some(bus.clone()), ..Self::default() }
    }

    /// Whether this is the bus that lives.
    pub(crate) fn is_bus(&self, node: &NodeName) -> bool {
        self.bus.as_ref() == Some(node)
    }

    /// The service that the instance at the other end belongs to.
    pub(crate) fn service_of(&self, connection: u64) -> Option<&ServiceName> {
        self.connections.get(&connection).map(|(service, _)| service)
    }

    /// The least credit of all instances, if the service is settled.
    pub(crate) fn settled_credit(&self, service: &ServiceName) -> Option<u32> {
        let members = self.services.get(service)?;
        if members.values().all(Member::is_settled) { members.values().map(|member| member.credit).min() } else { None }
    }

    /// The names of a service's instances.
    pub(crate) fn names(&self, service: &ServiceName) -> impl Iterator<Item = &InstanceName> {
        self.services.get(service).into_iter().flat_map(BTreeMap::keys)
    }

    /// Adds to a digest all that it remembers.
    pub(crate) fn memory(&self, to: &mut StableHasher) {
        (&self.connections, &self.services).hash(to);
    }

    /// Takes a record in; the service whose instances it changed, if any.
    pub(crate) fn observe(&mut self, record: &Record) -> Option<ServiceName> {
        if !self.is_bus(&record.node) {
            return None;
        }
        match &record.what {
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => self.received(*connection, frame),
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                let FromBus::Welcome(welcome) = &**frame else { return None };
                let credit = welcome.credit;
                self.change(*connection, |member| {
                    *member = Member { connection: Some(*connection), ready: false, credit, greeting: None };
                })
            }
            What::Disconnected { connection } => self.disconnected(*connection),
            _ => None,
        }
    }

    /// Takes an event of the log in: the bus says there who has left for good.
    pub(crate) fn left(&mut self, service: &ServiceName, event: &Event) -> bool {
        if event.event_type.as_str() != "$OwnerLeft" || event.key != service_key(service) {
            return false;
        }
        let Ok(data) = event.data.to::<serde_json::Value>() else { return false };
        let Some(name) = data["instance"].as_str() else { return false };
        self.services.get_mut(service).is_some_and(|members| members.remove(&InstanceName::of(name)).is_some())
    }

    fn received(&mut self, connection: u64, frame: &ToBus) -> Option<ServiceName> {
        match frame {
            ToBus::Hello(hello) => {
                // A second hello on one connection is out of turn and changes nothing.
                if self.connections.contains_key(&connection) {
                    return None;
                }
                let who = (hello.service.clone(), hello.instance.clone());
                self.connections.insert(connection, who.clone());
                let member = self.services.entry(who.0.clone()).or_default().entry(who.1).or_default();
                member.greeting = Some(connection);
                Some(who.0)
            }
            ToBus::Ready(_) => self.change_own(connection, |member| member.ready = true),
            ToBus::Credit(credit) if credit.request.is_none() => {
                self.change_own(connection, |member| member.credit = credit.credit)
            }
            ToBus::Bye(_) => self.change_own(connection, |member| member.ready = false),
            _ => None,
        }
    }

    fn disconnected(&mut self, connection: u64) -> Option<ServiceName> {
        let (service, name) = self.connections.remove(&connection)?;
        let members = self.services.get_mut(&service)?;
        if let Some(member) = members.get_mut(&name) {
            if member.greeting == Some(connection) {
                member.greeting = None;
            }
            if member.connection == Some(connection) {
                member.connection = None;
                member.ready = false;
            }
        }
        // A greeting that came to nothing leaves nobody behind.
        members.retain(|_, member| member.connection.is_some() || member.greeting.is_some() || member.credit > 0);
        Some(service)
    }

    fn change(&mut self, connection: u64, change: impl FnOnce(&mut Member)) -> Option<ServiceName> {
        let (service, name) = self.connections.get(&connection)?.clone();
        change(self.services.entry(service.clone()).or_default().entry(name).or_default());
        Some(service)
    }

    /// Changes the member that speaks on this connection, unless a newer one has taken over.
    fn change_own(&mut self, connection: u64, change: impl FnOnce(&mut Member)) -> Option<ServiceName> {
        let (service, name) = self.connections.get(&connection)?.clone();
        let member = self.services.get_mut(&service)?.get_mut(&name)?;
        if member.connection == Some(connection) {
            change(member);
        }
        Some(service)
    }
}
