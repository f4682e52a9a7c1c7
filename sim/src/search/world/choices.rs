//! What may happen next.

use dacapo_core::Key;

use super::World;
use crate::search::{
    peers::{self, service_name},
    step::Step,
};

impl World {
    /// What may happen next, in an order that never changes.
    pub(in crate::search) fn choices(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.store.choices(self.left.failed_commits > 0, &mut steps);
        for index in 0..self.peers.len() {
            self.of_peer(index, &mut steps);
        }
        for index in 0..self.nodes.len() {
            self.of_node(index, &mut steps);
        }
        self.of_customers(&mut steps);
        if self.left.timeouts > 0 && self.next_timeout().is_some() {
            steps.push(Step::TimePasses);
        }
        if self.left.retries > 0 {
            for key in self.parked() {
                steps.extend([Step::Retry(key.clone()), Step::Skip(key)]);
            }
        }
        if self.left.rebuilds > 0 && !self.follows {
            steps.push(Step::Rebuild);
        }
        if self.left.crashes > 0 {
            steps.push(Step::Crash { applied: false });
            if self.store.may_become_durable() {
                steps.push(Step::Crash { applied: true });
            }
        }
        steps
    }

    /// A publisher sends without waiting; a customer asks again only when it has no answer.
    fn of_customers(&self, steps: &mut Vec<Step>) {
        if self.published < self.scope.events {
            steps.push(Step::Publish);
        }
        if self.left.repeats > 0 {
            steps.extend((0..self.published).map(Step::Repeat));
        }
        for (index, customer) in self.customers.iter().enumerate() {
            let again = customer.attempts > 0;
            if customer.may_ask() && (!again || self.left.repeats > 0) {
                steps.push(Step::Ask(index));
            }
        }
    }

    fn of_peer(&self, index: usize, steps: &mut Vec<Step>) {
        let peer = &self.peers[index];
        if peer.conn.is_none() {
            return steps.push(Step::Join(index));
        }
        if peer.welcomed && !peer.ready {
            steps.push(Step::Ready(index));
        }
        if peer.welcomed {
            for (which, held) in peer.held.iter().enumerate() {
                if held.stale && self.left.late == 0 {
                    continue;
                }
                steps.push(Step::Complete(index, which));
                if self.left.nacks > 0 {
                    steps.push(Step::Nack(index, which));
                }
            }
        }
        if self.left.drops > 0 {
            steps.extend([Step::Drop(index), Step::Die(index)]);
        }
    }

    fn of_node(&self, index: usize, steps: &mut Vec<Step>) {
        let node = &self.nodes[index];
        if node.conn.is_none() && node.wants {
            steps.push(Step::Join(index));
        }
        if !node.to_bus.is_empty() || node.closing {
            steps.push(Step::BusHears(index));
        }
        if !node.from_bus.is_empty() {
            steps.push(Step::NodeHears(index));
        }
        if self.left.drops > 0 && node.conn.is_some() {
            steps.extend([Step::Drop(index), Step::Die(index)]);
        }
    }

    /// What anybody has to do before time passes, if nothing goes wrong; who is `hung` answers nothing.
    pub(in crate::search) fn duty(&self, hung: Option<usize>) -> Option<Step> {
        let of_peer = |index: usize| {
            let peer = &self.peers[index];
            if peer.conn.is_none() {
                Some(Step::Join(index))
            } else if peer.welcomed && !peer.ready {
                Some(Step::Ready(index))
            } else if hung == Some(index) {
                None
            } else {
                let which = peer.held.iter().position(|held| !held.stale)?;
                Some(Step::Complete(index, which))
            }
        };
        let of_node = |index: usize| {
            let mut steps = Vec::new();
            self.of_node(index, &mut steps);
            steps.into_iter().find(|step| matches!(step, Step::Join(_) | Step::BusHears(_) | Step::NodeHears(_)))
        };
        let again = || self.customers.iter().position(|customer| customer.attempts > 0 && customer.may_ask());
        self.store
            .first()
            .or_else(|| (0..self.peers.len()).find_map(of_peer))
            .or_else(|| (0..self.nodes.len()).find_map(of_node))
            .or_else(|| again().map(Step::Ask))
    }

    /// The keys whose lanes are parked, by the log.
    fn parked(&self) -> Vec<Key> {
        let log = self.jury.known.log();
        let Some(service) = log.service(&service_name()) else { return Vec::new() };
        let keys = (0..self.scope.keys).map(|index| peers::key(&self.scope, index));
        keys.filter(|key| service.behind(key).is_some_and(|behind| behind.record.parked.is_some())).collect()
    }
}
