//! What the bank's customers do, drawn before the run.
//!
//! First everybody becomes a user, opens accounts and pays money in. Then they move it: over a few hot accounts, which
//! everybody may draw on, and many cold ones. Several transfers are ordered at one moment that a hot account can cover
//! one by one and not together; some savings are spent to the last penny; and a share of what is asked is impossible.
//!
//! Names follow from customers' numbers and operations' ids, so that a plan reads well and can be repeated. Nothing
//! here reads what services answer: the expected balances are guesses that make amounts interesting, no oracle.

use dacapo_core::ServiceName;
use dacapo_properties::{Operation, scenario::Draw};
use dacapo_service::Method;
use serde_json::{Value, json};

use crate::{accounts, transactions, users};

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
/// Users whose first account is hot.
const HOT_ACCOUNTS_MAX: usize = 2;
/// Accounts of one user.
const ACCOUNTS_PER_USER_MAX: usize = 4;
/// Transfers ordered at one moment on a hot account.
const BURST_MAX: u64 = 6;
/// How far apart the transfers of a burst are at most: less than a round trip.
const BURST_SPREAD_US: u64 = 3_000;

/// Draws about `operations` operations over `duration_us` for `customers` customers, in order of their times.
pub(crate) fn draw(draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
    let mut plan = Plan { draw, operations: Vec::new(), accounts: Vec::new(), orders: Vec::new() };
    // Opening takes a third of the operations at most; a small plan has fewer users rather than users without money.
    let users = (operations / 9).clamp(1, (customers as usize).max(1));
    let accounts_max = ((operations / 3 / users).saturating_sub(1) / 2).clamp(1, ACCOUNTS_PER_USER_MAX);
    for user in 0..users {
        plan.open(user, accounts_max, duration_us / 6);
    }
    let rest = operations.saturating_sub(plan.operations.len());
    let (first_us, last_us) = (duration_us / 5, duration_us / 20 * 19);
    let mut times: Vec<u64> = (0..rest).map(|_| first_us + plan.below(last_us - first_us + 1)).collect();
    times.sort_unstable();
    let mut done = 0;
    while let Some(&at_us) = times.get(done) {
        done += plan.act(at_us, rest - done);
    }
    plan.operations.sort_by_key(|operation| (operation.at_us, operation.id));
    plan.operations
}

/// An account of the plan.
struct Account {
    id: String,
    owner: usize,
    hot: bool,
    /// Only its owner moves its money, so that the expected balance is exact.
    savings: bool,
    /// What it holds if everything so far went well.
    expected: u64,
}

struct Plan<'a> {
    draw: &'a mut dyn Draw,
    operations: Vec<Operation>,
    accounts: Vec<Account>,
    /// The transactions that were ordered.
    orders: Vec<String>,
}

impl Plan<'_> {
    fn below(&mut self, n: u64) -> u64 {
        self.draw.below(n.max(1))
    }

    fn next_id(&self) -> u64 {
        self.operations.len() as u64 + 1
    }

    fn add(&mut self, customer: usize, at_us: u64, service: &str, request: (Method, String), body: &Value) -> u64 {
        let id = self.next_id();
        self.operations.push(Operation {
            id,
            customer: customer as u32,
            at_us,
            after: Vec::new(),
            service: ServiceName::of(service),
            method: request.0,
            path: request.1,
            body: if body.is_null() { String::new() } else { body.to_string() },
        });
        id
    }

    fn after(&mut self, operation: u64) {
        if let Some(last) = self.operations.last_mut() {
            last.after.push(operation);
        }
    }

    /// A user with accounts and money, within this time.
    fn open(&mut self, user: usize, accounts_max: usize, within_us: u64) {
        let name = user_name(user);
        let count = if user < HOT_ACCOUNTS_MAX && accounts_max > 1 {
            2 + self.below(accounts_max as u64 - 1)
        } else {
            1 + self.below(accounts_max as u64)
        };
        let step_us = within_us / (2 * count + 1);
        let mut at_us = self.below(step_us);
        let body = json!({"id": name, "name": format!("Customer {name}")});
        let created = self.add(user, at_us, users::NAME, (Method::Post, "/users".into()), &body);
        for number in 1..=count {
            let id = format!("{name}-{number}");
            at_us += self.below(step_us);
            let path = format!("/users/{name}/accounts");
            let body = json!({"account": id, "name": account_name(number)});
            let asked = self.add(user, at_us, users::NAME, (Method::Post, path), &body);
            self.after(created);
            at_us += self.below(step_us);
            let pence = 1_000 + self.below(9_000);
            let path = format!("/accounts/{id}/deposit");
            self.add(user, at_us, accounts::NAME, (Method::Post, path), &json!({"pence": pence}));
            self.after(asked);
            let hot = number == 1 && user < HOT_ACCOUNTS_MAX;
            self.accounts.push(Account { id, owner: user, hot, savings: number == 2, expected: pence });
        }
    }

    /// Something happens at this time; how many operations it took, `room` at most.
    fn act(&mut self, at_us: u64, room: usize) -> usize {
        match self.below(100) {
            0..28 => self.transfer_cold(at_us),
            28..36 => return self.burst(at_us, room),
            36..46 => self.deposit(at_us),
            46..56 => self.withdraw(at_us),
            56..64 => self.spend_savings(at_us),
            64..86 => self.look(at_us),
            _ => self.attempt_the_impossible(at_us),
        }
        1
    }

    fn users(&self) -> u64 {
        self.accounts.iter().map(|account| account.owner as u64 + 1).max().unwrap_or(1)
    }

    /// Draws one of the accounts that are wanted; if there is none, of all.
    fn account(&mut self, wanted: impl Fn(&Account) -> bool) -> usize {
        let found: Vec<usize> = (0..self.accounts.len()).filter(|&index| wanted(&self.accounts[index])).collect();
        let index = self.below(if found.is_empty() { self.accounts.len() } else { found.len() } as u64) as usize;
        found.get(index).copied().unwrap_or(index)
    }

    /// Orders a transfer between accounts of the plan, and expects it to go well if the money is there.
    fn order(&mut self, customer: usize, at_us: u64, from: usize, to: usize, pence: u64) {
        let (sender, recipient) = (self.accounts[from].id.clone(), self.accounts[to].id.clone());
        self.order_between(customer, at_us, &sender, &recipient, &json!(pence));
        if from != to && pence <= self.accounts[from].expected {
            self.accounts[from].expected -= pence;
            self.accounts[to].expected += pence;
        }
    }

    fn order_between(&mut self, customer: usize, at_us: u64, from: &str, to: &str, pence: &Value) {
        let id = format!("t{}", self.next_id());
        let body = json!({"id": id, "from": from, "to": to, "pence": pence, "reference": format!("order {id}")});
        self.add(customer, at_us, transactions::NAME, (Method::Post, "/transactions".into()), &body);
        self.orders.push(id);
    }

    /// A part of what a cold account holds goes anywhere.
    fn transfer_cold(&mut self, at_us: u64) {
        let from = self.account(|account| !account.hot && !account.savings);
        let to = self.recipient_besides(from);
        let pence = 1 + self.below(self.accounts[from].expected / 2);
        self.order(self.accounts[from].owner, at_us, from, to, pence);
    }

    fn recipient_besides(&mut self, from: usize) -> usize {
        let sender = self.accounts[from].id.clone();
        self.account(|account| account.id != sender && !account.savings)
    }

    /// Several customers draw on a hot account at one moment. It covers each of the transfers, but not all.
    fn burst(&mut self, at_us: u64, room: usize) -> usize {
        let from = self.account(|account| account.hot);
        let count = (2 + self.below(BURST_MAX - 1)).min(room as u64).max(1);
        let held = self.accounts[from].expected;
        let first = self.below(self.users());
        for number in 0..count {
            let customer = (first + number) % self.users();
            let to = self.recipient_besides(from);
            let pence = (held / 2 + 1 + self.below(held / 4)).min(held.max(1));
            let at_us = at_us + self.below(BURST_SPREAD_US);
            self.order(customer as usize, at_us, from, to, pence);
        }
        count as usize
    }

    fn deposit(&mut self, at_us: u64) {
        let index = self.account(|account| !account.savings);
        let pence = 1 + self.below(5_000);
        let (owner, path) = (self.accounts[index].owner, format!("/accounts/{}/deposit", self.accounts[index].id));
        self.add(owner, at_us, accounts::NAME, (Method::Post, path), &json!({"pence": pence}));
        self.accounts[index].expected += pence;
    }

    fn withdraw(&mut self, at_us: u64) {
        let index = self.account(|account| !account.savings);
        let pence = 1 + self.below(self.accounts[index].expected / 2);
        self.withdraw_from(index, at_us, pence);
    }

    fn withdraw_from(&mut self, index: usize, at_us: u64, pence: u64) {
        let (owner, path) = (self.accounts[index].owner, format!("/accounts/{}/withdraw", self.accounts[index].id));
        self.add(owner, at_us, accounts::NAME, (Method::Post, path), &json!({"pence": pence}));
        self.accounts[index].expected = self.accounts[index].expected.saturating_sub(pence);
    }

    /// Savings go to the last penny; empty ones are filled again.
    fn spend_savings(&mut self, at_us: u64) {
        let index = self.account(|account| account.savings);
        let Account { owner, expected: held, .. } = self.accounts[index];
        if held == 0 {
            let pence = 1 + self.below(5_000);
            let path = format!("/accounts/{}/deposit", self.accounts[index].id);
            self.add(owner, at_us, accounts::NAME, (Method::Post, path), &json!({"pence": pence}));
            self.accounts[index].expected = pence;
        } else if self.below(3) == 0 {
            self.withdraw_from(index, at_us, held);
        } else {
            let to = self.recipient_besides(index);
            self.order(owner, at_us, index, to, held);
        }
    }

    fn look(&mut self, at_us: u64) {
        let customer = self.below(self.users()) as usize;
        let index = self.account(|_| true);
        let account = self.accounts[index].id.clone();
        let orders = self.orders.len() as u64;
        let (service, path) = match self.below(4) {
            0 => (accounts::NAME, format!("/accounts/{account}")),
            1 => (accounts::NAME, format!("/accounts/{account}/statement")),
            2 if orders > 0 => {
                let order = self.below(orders) as usize;
                (transactions::NAME, format!("/transactions/{}", self.orders[order]))
            }
            _ => (users::NAME, format!("/users/{}/accounts", user_name(customer))),
        };
        self.add(customer, at_us, service, (Method::Get, path), &Value::Null);
    }

    /// What must be refused, or rejected: none of it may move a penny.
    fn attempt_the_impossible(&mut self, at_us: u64) {
        let customer = self.below(self.users()) as usize;
        let (index, other) = (self.account(|_| true), self.account(|account| !account.savings));
        let (from, held) = (self.accounts[index].id.clone(), self.accounts[index].expected);
        let to = self.accounts[other].id.clone();
        let post = |path: &str| (Method::Post, path.to_owned());
        let deposit = post(&format!("/accounts/{from}/deposit"));
        let withdraw = post(&format!("/accounts/{from}/withdraw"));
        match self.below(16) {
            0 => self.order_between(customer, at_us, "nobody-1", &to, &json!(100)),
            1 => self.order_between(customer, at_us, &from, "nobody-1", &json!(1)),
            2 => self.order_between(customer, at_us, &from, &from, &json!(1)),
            3 => self.order_between(customer, at_us, &from, &to, &json!(0)),
            4 => self.order_between(customer, at_us, &from, &to, &json!(-100)),
            5 => self.order_between(customer, at_us, &from, &to, &json!("100")),
            6 => self.order_between(customer, at_us, &from, &to, &json!(u64::MAX)),
            7 => self.order_between(customer, at_us, &from, &to, &json!(1_000_000_000_000_000_u64)),
            8 => self.order_between(customer, at_us, &from, &to, &json!(held * 2 + 100_000)),
            9 => drop(self.add(customer, at_us, accounts::NAME, deposit, &json!({"pence": -5}))),
            10 => drop(self.add(customer, at_us, accounts::NAME, deposit, &json!({"pence": 0}))),
            11 => drop(self.add(customer, at_us, accounts::NAME, withdraw, &json!({"pence": held + 1_000_000}))),
            12 => {
                let nowhere = post("/accounts/nobody-1/deposit");
                self.add(customer, at_us, accounts::NAME, nowhere, &json!({"pence": 5}));
            }
            13 => {
                let body = json!({"id": user_name(customer), "name": "Somebody else"});
                self.add(customer, at_us, users::NAME, post("/users"), &body);
            }
            14 => {
                let path = post(&format!("/users/{}/accounts", user_name(customer)));
                self.add(customer, at_us, users::NAME, path, &json!({"account": from}));
            }
            _ => {
                let path = post("/users/nobody/accounts");
                self.add(customer, at_us, users::NAME, path, &json!({"account": "nobody-1"}));
            }
        }
    }
}

fn user_name(user: usize) -> String {
    match NAMES.get(user) {
        Some(name) => (*name).to_owned(),
        None => format!("{}{}", NAMES[user % NAMES.len()], user / NAMES.len() + 1),
    }
}

fn account_name(number: u64) -> &'static str {
    match number {
        1 => "Current",
        2 => "Savings",
        _ => "Other",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use dacapo_core::digest::digest_of;

    use super::*;

    /// A source of chance that is the same on every run.
    pub(crate) struct Counter {
        seed: u64,
        drawn: u64,
    }

    impl Counter {
        pub(crate) fn new(seed: u64) -> Self {
            Self { seed, drawn: 0 }
        }
    }

    impl Draw for Counter {
        fn below(&mut self, n: u64) -> u64 {
            assert!(n > 0, "there is nothing below 0");
            self.drawn += 1;
            digest_of(self.seed, &self.drawn) % n
        }
    }

    fn plan(seed: u64, customers: u32, operations: usize) -> Vec<Operation> {
        draw(&mut Counter::new(seed), customers, operations, 60_000_000)
    }

    #[test]
    fn the_same_chance_makes_the_same_plan() {
        assert_eq!(plan(7, 5, 200), plan(7, 5, 200));
        assert_ne!(plan(7, 5, 200), plan(8, 5, 200));
    }

    #[test]
    fn a_plan_is_well_formed_whatever_is_asked_for() {
        for (seed, customers, operations, duration_us) in
            [(1, 5, 200, 60_000_000), (2, 1, 1, 1), (3, 0, 0, 0), (4, 12, 40, 1_000), (5, 3, 1_000, 10_000_000)]
        {
            let plan = draw(&mut Counter::new(seed), customers, operations, duration_us);
            assert!(plan.len() >= 3 && plan.len() <= operations.max(3), "{} for {operations}", plan.len());
            let by_id: BTreeMap<u64, &Operation> = plan.iter().map(|operation| (operation.id, operation)).collect();
            assert_eq!(by_id.len(), plan.len(), "ids are unique");
            assert!(plan.is_sorted_by_key(|operation| operation.at_us));
            for operation in &plan {
                assert!(operation.customer < customers.max(1));
                assert!(operation.at_us <= duration_us + BURST_SPREAD_US);
                let body = serde_json::from_str::<Value>(&operation.body);
                assert_eq!(body.is_ok(), operation.method == Method::Post, "{}", operation.body);
                for before in &operation.after {
                    assert!(by_id[before].at_us <= operation.at_us && by_id[before].id < operation.id);
                    assert_eq!(by_id[before].customer, operation.customer);
                }
            }
        }
    }

    #[test]
    fn nothing_depends_on_what_is_expected_to_be_refused() {
        let plan = plan(11, 6, 400);
        let depended: BTreeSet<u64> = plan.iter().flat_map(|operation| operation.after.clone()).collect();
        let opened = plan.iter().filter(|operation| operation.at_us <= 60_000_000 / 6).map(|operation| operation.id);
        assert!(depended.is_subset(&opened.collect()), "only the opening of users and accounts is depended on");
        assert!(!depended.is_empty());
    }

    #[test]
    fn every_kind_of_impossible_thing_is_attempted_within_a_few_plans() {
        let bodies: String = (0..20).flat_map(|seed| plan(seed, 6, 300)).map(|o| o.path + &o.body + "\n").collect();
        for part in [
            "\"pence\":0,",
            "\"pence\":-100",
            "\"pence\":\"100\"",
            "\"pence\":18446744073709551615",
            "\"pence\":1000000000000000,",
            "\"to\":\"nobody-1\"",
            "\"from\":\"nobody-1\"",
            "deposit{\"pence\":-5}",
            "deposit{\"pence\":0}",
            "/accounts/nobody-1/deposit",
            "Somebody else",
            "/users/nobody/accounts",
        ] {
            assert!(bodies.contains(part), "{part}");
        }
    }

    #[test]
    fn hot_accounts_are_drawn_on_by_several_customers_at_once() {
        let orders = |plan: Vec<Operation>| {
            let mut by_sender: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
            for operation in plan.iter().filter(|operation| operation.path == "/transactions") {
                let body: Value = serde_json::from_str(&operation.body).unwrap();
                let sender = body["from"].as_str().unwrap_or_default().to_owned();
                by_sender.entry(sender).or_default().push((operation.at_us, operation.customer));
            }
            by_sender
        };
        let by_sender = orders(plan(2, 6, 400));
        let hot = &by_sender["alice-1"];
        let meet = hot.windows(2).filter(|pair| pair[1].0 - pair[0].0 <= BURST_SPREAD_US && pair[0].1 != pair[1].1);
        assert!(meet.count() >= 5, "{hot:?}");
        assert!(by_sender.len() > 8, "there are cold ones too: {:?}", by_sender.keys());
    }
}
