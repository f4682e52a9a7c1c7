//! What must be true of a bus after every input, and what it tells about itself.

use std::collections::BTreeMap;

use super::{Bus, Output, service::Service};
use crate::{names::Key, trace::What};

impl Bus {
    /// Panics if the bus has broken one of its own rules.
    pub fn check_invariants(&self) {
        if self.config.planted.get().is_some() {
            return; // A planted bug breaks rules; the properties must find it by themselves.
        }
        self.knowledge.check_invariants();
        for service in self.services.values() {
            self.check_service(service);
        }
        let open: usize =
            self.services.values().flat_map(|service| service.lanes.values()).map(|lane| lane.open.len()).sum();
        assert_eq!(self.open_keys.len(), open, "each open delivery has an entry, and nothing else has");
    }

    fn check_service(&self, service: &Service) {
        let name = &service.name;
        let limits = &self.config.limits;
        assert!(service.loaded <= self.knowledge.durable, "{name} has loaded what is not durable");
        assert!(service.frontier_now() <= service.loaded, "{name}: the frontier passes what is loaded");
        let mut pending = 0;
        let mut open: BTreeMap<&str, u32> = BTreeMap::new();
        let mut outstanding: BTreeMap<_, &Key> = BTreeMap::new();
        for (key, lane) in &service.lanes {
            pending += lane.pending.len();
            assert!(lane.open.len() <= lane.pending.len(), "{name}/{key}: what is open is pending");
            assert!(lane.open.len() <= limits.lane_open_max, "{name}/{key}: too many open deliveries");
            assert!(!lane.stands() || lane.pending.is_empty(), "{name}/{key}: a lane that stands holds nothing");
            assert!(!lane.spilled || lane.listed, "{name}/{key}: a spilled lane is on the list");
            assert!(lane.parked.is_none() || lane.spilled, "{name}/{key}: a parked lane waits in the log");
            assert!(!lane.is_drained(), "{name}/{key}: a drained lane is forgotten");
            assert_eq!(lane.deadline.is_some(), !lane.open.is_empty(), "{name}/{key}: deadline and open go together");
            let versions = lane.pending.iter().map(|pending| pending.event.version);
            assert!(versions.is_sorted_by(|a, b| a < b), "{name}/{key}: pending events are in order");
            if let Some(owner) = &lane.owner
                && !lane.open.is_empty()
            {
                let Some(instance) = service.instances.get(owner) else { panic!("{name}/{key}: its owner is gone") };
                *open.entry(owner.as_str()).or_default() += lane.open.len() as u32;
                for delivery in &lane.open {
                    assert_eq!(
                        delivery.token.session, instance.session,
                        "{name}/{key}: an open token is of the session"
                    );
                    assert_eq!(delivery.token.epoch, lane.epoch, "{name}/{key}: an open token is of the epoch");
                }
            }
            assert!(lane.owner.is_some() || lane.open.is_empty(), "{name}/{key}: what is open has an owner");
            if !lane.listed {
                outstanding.extend(lane.pending.iter().map(|pending| (pending.event.position, key)));
            }
            let idle = !lane.queued && lane.open.is_empty() && !lane.stands() && lane.reading.is_none();
            assert!(!idle, "{name}/{key}: a lane with work stands in line, is read, is open, or waits");
        }
        assert_eq!(service.pending, pending, "{name}: the count of pending events is right");
        assert!(
            service.outstanding.iter().map(|(position, key)| (*position, key)).eq(outstanding),
            "{name}: what holds the frontier back is what is pending in lanes that are not listed"
        );
        for (instance_name, instance) in &service.instances {
            let count = open.get(instance_name.as_str()).copied().unwrap_or_default();
            assert_eq!(instance.open, count, "{name}/{instance_name}: the count of open deliveries is right");
        }
    }

    /// Records what is held in memory, against the limits, as far as it is news.
    pub(super) fn record_sizes(&mut self) {
        let limits = &self.config.limits;
        let (heads, ids, done) = self.knowledge.sizes();
        // What is decided and not durable may stand above a cache's limit: one commit under way, one gathering, and what
        // the waiting messages need.
        let slack = 2 * limits.commit_events_max + 2 * limits.publishes_waiting_max + crate::limits::BATCH_EVENTS_MAX;
        let mut sizes = Vec::new();
        let fixed = [
            ("heads", heads, limits.heads_max + slack),
            ("recent events", ids, limits.recent_events_max + slack),
            ("recent completions", done, limits.recent_events_max + slack),
            ("connections", self.conns.len(), limits.connections_max),
            ("services", self.services.len(), limits.services_max),
        ];
        for (place, (name, size, limit)) in fixed.into_iter().enumerate() {
            if self.sizes_told.is_news(place, size as u64, limit as u64) {
                sizes.push((name.to_owned(), size as u64, limit as u64));
            }
        }
        for service in self.services.values_mut() {
            let pending_max = service.pending_max(limits);
            let of_service =
                [("pending", service.pending, pending_max), ("idle lanes", service.idle.len(), limits.idle_lanes_max)];
            for (place, (name, size, limit)) in of_service.into_iter().enumerate() {
                if service.sizes_told.is_news(place, size as u64, limit as u64) {
                    sizes.push((format!("{name} of {}", service.name), size as u64, limit as u64));
                }
            }
        }
        if !sizes.is_empty() {
            self.outbox.say_now(Output::Record(What::Sizes { sizes }));
        }
    }
}
