//! The users service: creates users, takes their wishes for accounts, lists what they have.
//!
//! It never writes on an account's key: it asks on `creation-…`, and the accounts service opens. A user's accounts are
//! a view over what that service said.

use dacapo_core::{Event, EventType, Key, ServiceName};
use dacapo_service::{Contribution, Interrupt, Method, Request, Response, Route, Service, service::Context};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    events::{AccountCreated, AccountCreationRequest, Fact, UserCreated},
    http::{self, Refusal, Stop},
    ids::{AccountId, UserId},
};

/// The service's name.
pub const NAME: &str = "users";

const USERS: &str = "/users";
const USER: &str = "/users/{id}";
const ACCOUNTS: &str = "/users/{id}/accounts";

/// The users service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Users;

/// What the users service knows of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing happened here.
    #[default]
    Nothing,
    /// Of a key `user-…`.
    User {
        /// For people.
        name: String,
    },
    /// Of a key `creation-…`: this user asked for the account.
    Requested {
        /// Who.
        user: UserId,
    },
}

impl State {
    /// Folds one event; what is not of the bank's shape changes nothing.
    pub fn apply(&mut self, event: &Event) {
        match event.event_type.as_str() {
            UserCreated::TYPE => {
                if let Ok(created) = UserCreated::read(event) {
                    *self = Self::User { name: created.name };
                }
            }
            AccountCreationRequest::TYPE => {
                if let Ok(request) = AccountCreationRequest::read(event) {
                    *self = Self::Requested { user: request.user };
                }
            }
            _ => {}
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    id: UserId,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    account: AccountId,
    name: Option<String>,
}

impl Service for Users {
    type State = State;

    fn name(&self) -> ServiceName {
        ServiceName::of(NAME)
    }

    fn types(&self) -> Vec<EventType> {
        vec![UserCreated::event_type(), AccountCreationRequest::event_type()]
    }

    fn apply(&self, _key: &Key, state: &mut State, event: &Event) {
        state.apply(event);
    }

    fn view_types(&self) -> Vec<EventType> {
        vec![AccountCreated::event_type()]
    }

    fn contribute(&self, event: &Event) -> Option<Contribution> {
        let created = AccountCreated::read(event).ok()?;
        let value = json!({"id": created.account, "name": created.name}).to_string();
        Some(Contribution { gather: created.user.key(), value })
    }

    fn routes(&self) -> Vec<Route> {
        vec![
            Route { method: Method::Post, path: USERS },
            Route { method: Method::Get, path: USER },
            Route { method: Method::Post, path: ACCOUNTS },
            Route { method: Method::Get, path: ACCOUNTS },
        ]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, State>) -> Result<Response, Interrupt> {
        http::answer(match (request.method, request.route) {
            (Method::Post, USERS) => create_user(request, context),
            (Method::Get, USER) => show_user(request, context),
            (Method::Post, ACCOUNTS) => ask_for_account(request, context),
            (Method::Get, ACCOUNTS) => list_accounts(request, context),
            _ => Err(Refusal::not_found("the users service has no such route").into()),
        })
    }
}

/// Whether a user of this id may come to be.
fn decide_user(id: &UserId, state: &State) -> Result<(), Refusal> {
    match state {
        State::Nothing => Ok(()),
        _ => Err(Refusal::conflict(format!("user {id} exists already; choose another id"))),
    }
}

/// Whether this account may be asked for.
fn decide_account(user: &UserId, user_state: &State, account: &AccountId, asked: &State) -> Result<(), Refusal> {
    name_of(user, user_state)?;
    match asked {
        State::Nothing => Ok(()),
        _ => Err(Refusal::conflict(format!("account {account} was asked for already; choose another id"))),
    }
}

fn name_of<'a>(id: &UserId, state: &'a State) -> Result<&'a str, Refusal> {
    match state {
        State::User { name } => Ok(name),
        _ => Err(Refusal::not_found(format!("there is no user {id}; create it first"))),
    }
}

fn create_user(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let NewUser { id, name } = http::body(request)?;
    let name = http::text("the name", name)?;
    decide_user(&id, context.state(&id.key())?)?;
    let created = UserCreated { name: name.clone(), request: request.idempotency_key.clone() };
    context.emit_first(UserCreated::event_type(), id.key(), &created);
    Ok(Response::json(201, &json!({"user": id, "name": name})))
}

fn show_user(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::user_in_path(request)?;
    let name = name_of(&id, context.state(&id.key())?)?;
    Ok(Response::json(200, &json!({"user": id, "name": name})))
}

fn ask_for_account(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let user = http::user_in_path(request)?;
    let NewAccount { account, name } = http::body(request)?;
    let name = http::text("the name", name.unwrap_or_else(|| account.to_string()))?;
    let user_state = context.state(&user.key())?.clone();
    decide_account(&user, &user_state, &account, context.state(&account.creation_key())?)?;
    let wish = AccountCreationRequest {
        user: user.clone(),
        account: account.clone(),
        name,
        request: request.idempotency_key.clone(),
    };
    context.emit_first(AccountCreationRequest::event_type(), account.creation_key(), &wish);
    Ok(Response::json(202, &json!({"user": user, "account": account, "status": "requested"})))
}

fn list_accounts(request: &Request, context: &mut Context<'_, State>) -> Result<Response, Stop> {
    let id = http::user_in_path(request)?;
    name_of(&id, context.state(&id.key())?)?;
    let accounts = context.view(&id.key()).iter().map(|(_, contribution)| json_of(contribution)).collect();
    Ok(Response::json(200, &json!({"user": id, "accounts": Value::Array(accounts)})))
}

fn json_of(contribution: &str) -> Value {
    serde_json::from_str(contribution).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{event, fold};

    fn alice() -> (UserId, State) {
        let state = fold(State::apply, "user-alice", &[("UserCreated", json!({"name": "Alice"}))]);
        (UserId::new("alice").unwrap(), state)
    }

    #[test]
    fn a_user_is_created_once() {
        let (id, state) = alice();
        assert_eq!(decide_user(&id, &State::Nothing), Ok(()));
        assert_eq!(decide_user(&id, &state).unwrap_err().status, 409);
        assert_eq!(name_of(&id, &state), Ok("Alice"));
        assert_eq!(name_of(&id, &State::Nothing).unwrap_err().status, 404);
    }

    #[test]
    fn an_account_is_asked_for_once_and_by_a_user() {
        let (id, user) = alice();
        let account = AccountId::new("alice-1").unwrap();
        let wish = json!({"user": "bob", "account": "alice-1", "name": "Purse"});
        let asked = fold(State::apply, "creation-alice-1", &[("AccountCreationRequest", wish)]);
        assert_eq!(decide_account(&id, &user, &account, &State::Nothing), Ok(()));
        assert_eq!(decide_account(&id, &State::Nothing, &account, &State::Nothing).unwrap_err().status, 404);
        assert_eq!(decide_account(&id, &user, &account, &asked).unwrap_err().status, 409);
    }

    #[test]
    fn an_open_account_is_gathered_under_its_user() {
        let created = json!({"user": "alice", "account": "alice-1", "name": "Purse"});
        let contribution = Users.contribute(&event(1, "acc-alice-1", "AccountCreated", &created)).unwrap();
        assert_eq!(contribution.gather, Key::of("user-alice"));
        assert_eq!(json_of(&contribution.value), json!({"id": "alice-1", "name": "Purse"}));
        assert_eq!(Users.contribute(&event(1, "acc-alice-1", "AccountCreated", &json!(7))), None);
    }
}
