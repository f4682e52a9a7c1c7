//! The bus's own state: services, frontiers, the list of lanes behind, and what recovery tells of them.

use dacapo_core::{
    Key, Position, ServiceName, Version,
    store::{LaneChange, LaneRecord, Recovered, service_key},
};

use super::{
    Case,
    fixture::{Fixture, service},
};

pub(super) const CASES: &[Case] = &[
    ("services_are_recovered_by_name", services_are_recovered_by_name),
    ("a_service_record_replaces_the_former", a_service_record_replaces_the_former),
    ("frontiers_move_forward_only", frontiers_move_forward_only),
    ("a_frontier_is_applied_after_its_service", a_frontier_is_applied_after_its_service),
    ("the_heads_of_the_services_own_keys_are_recovered", the_heads_of_the_services_own_keys_are_recovered),
    ("lanes_behind_are_put_replaced_and_removed", lanes_behind_are_put_replaced_and_removed),
    ("lane_changes_of_one_commit_apply_in_order", lane_changes_of_one_commit_apply_in_order),
];

fn recover(fixture: &mut Fixture) -> Recovered {
    let recovered = fixture.store.recover().expect("it recovers");
    fixture.term = recovered.term;
    recovered
}

fn lane(service: &str, key: &str, failures: u32) -> LaneRecord {
    LaneRecord {
        service: ServiceName::of(service),
        key: Key::of(key),
        next_version: Version(u64::from(failures) + 1),
        failures,
        parked: (failures > 7).then(|| "it failed 8 times".to_owned()),
    }
}

fn removal(service: &str, key: &str) -> LaneChange {
    LaneChange::Remove { service: ServiceName::of(service), key: Key::of(key) }
}

fn services_are_recovered_by_name(fixture: &mut Fixture) {
    let (users, accounts) = (service("users", &[("B", 3), ("A", 0)], 2), service("accounts", &[], 0));
    let mut draft = fixture.draft();
    draft.commit.services = vec![users.clone(), accounts.clone()];
    fixture.accept(draft);
    assert_eq!(recover(fixture).services, [accounts, users]);
}

fn a_service_record_replaces_the_former(fixture: &mut Fixture) {
    for record in [service("users", &[("A", 0)], 5), service("users", &[("A", 0), ("B", 0)], 0)] {
        let mut draft = fixture.draft();
        draft.commit.services.push(record.clone());
        fixture.accept(draft);
        assert_eq!(recover(fixture).services, [record], "frontier and all, even back");
    }
}

fn frontiers_move_forward_only(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.commit.services = vec![service("users", &[("A", 0)], 0), service("accounts", &[("A", 0)], 4)];
    fixture.accept(draft);
    let users = || ServiceName::of("users");
    for frontier in [3, 3, 9] {
        let mut draft = fixture.draft();
        draft.commit.frontiers.push((users(), Position(frontier)));
        fixture.accept(draft);
        let expected = [service("accounts", &[("A", 0)], 4), service("users", &[("A", 0)], frontier)];
        assert_eq!(recover(fixture).services, expected);
    }
    let mut back = fixture.draft();
    back.commit.frontiers.push((users(), Position(8)));
    fixture.refuse(&back);
    let mut unknown = fixture.draft();
    unknown.commit.frontiers.push((ServiceName::of("nobody"), Position(8)));
    fixture.refuse(&unknown);
}

fn a_frontier_is_applied_after_its_service(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.commit.services.push(service("users", &[("A", 0)], 1));
    draft.commit.frontiers.push((ServiceName::of("users"), Position(2)));
    draft.commit.frontiers.push((ServiceName::of("users"), Position(6)));
    fixture.accept(draft);
    assert_eq!(recover(fixture).services, [service("users", &[("A", 0)], 6)]);
}

fn the_heads_of_the_services_own_keys_are_recovered(fixture: &mut Fixture) {
    let users = ServiceName::of("users");
    let key = service_key(&users);
    let mut draft = fixture.draft();
    draft.commit.services = vec![service("users", &[], 0), service("accounts", &[], 0)];
    draft.event(key.as_str(), "$registered");
    draft.event("acc-1", "Opened");
    let last = draft.event(key.as_str(), "$parked");
    fixture.accept(draft);
    let recovered = recover(fixture);
    assert_eq!(recovered.position, Position(3));
    let [(found, head)] = &recovered.service_heads[..] else {
        panic!("only the service with events has a head: {:?}", recovered.service_heads);
    };
    assert_eq!((found, head.version, head.id.as_ref()), (&key, Version(2), Some(&last.id)));
    assert_eq!(head.by_type.len(), 2);
}

fn lanes_behind_are_put_replaced_and_removed(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.commit.lanes =
        [lane("users", "b", 1), lane("users", "a", 9), lane("accounts", "z", 0)].map(LaneChange::Put).to_vec();
    fixture.accept(draft);
    assert_eq!(recover(fixture).lanes, [lane("accounts", "z", 0), lane("users", "a", 9), lane("users", "b", 1)]);
    let mut draft = fixture.draft();
    draft.commit.lanes = vec![LaneChange::Put(lane("users", "b", 8)), removal("users", "a"), removal("users", "none")];
    fixture.accept(draft);
    assert_eq!(recover(fixture).lanes, [lane("accounts", "z", 0), lane("users", "b", 8)]);
}

fn lane_changes_of_one_commit_apply_in_order(fixture: &mut Fixture) {
    let mut draft = fixture.draft();
    draft.commit.lanes = vec![
        LaneChange::Put(lane("users", "a", 1)),
        removal("users", "a"),
        LaneChange::Put(lane("users", "a", 2)),
        LaneChange::Put(lane("users", "b", 1)),
        removal("users", "b"),
    ];
    fixture.accept(draft);
    assert_eq!(recover(fixture).lanes, [lane("users", "a", 2)]);
}
