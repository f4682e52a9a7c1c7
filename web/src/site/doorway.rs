//! Signing up, logging in, logging out.

use std::sync::Arc;

use axum::{
    Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dacapo_bank::ids::UserId;
use serde_json::json;

use super::{
    Site, answers,
    visitor::{self, Visitor},
};
use crate::{
    doors::{self, Ask},
    page::{self, welcome::Welcome},
    teller::Fields,
    vault::{Person, VaultError},
};

/// Letters of a name that one logs in with.
const NAME_LETTERS: std::ops::RangeInclusive<usize> = 2..=20;
/// Letters of a password: long enough not to be guessed, short enough not to keep the hasher busy.
const PASSWORD_LETTERS: std::ops::RangeInclusive<usize> = 8..=200;
/// The same for an unknown name and for a wrong password.
const WRONG: &str = "That name and password do not belong together.";

/// Why somebody stays outside.
struct Stays {
    status: StatusCode,
    sentence: String,
}

impl Stays {
    fn because(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    fn wait(wait: std::time::Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        Self::because(StatusCode::TOO_MANY_REQUESTS, format!("Too many tries. Wait {seconds} seconds and try again."))
    }
}

impl From<VaultError> for Stays {
    fn from(error: VaultError) -> Self {
        tracing::error!(%error, "the vault does not answer");
        let told = "The bank cannot look up its customers just now. Try again.";
        Self::because(StatusCode::SERVICE_UNAVAILABLE, told)
    }
}

pub(super) async fn sign_up(State(site): State<Arc<Site>>, visitor: Visitor, Form(fields): Form<Fields>) -> Response {
    if let Err(refused) = visitor.vouch(&fields) {
        return refused.into_response();
    }
    let made = admit_new(&site, &visitor, &fields).await;
    enter(&site, &visitor, &fields, made, true).await
}

pub(super) async fn log_in(State(site): State<Arc<Site>>, visitor: Visitor, Form(fields): Form<Fields>) -> Response {
    if let Err(refused) = visitor.vouch(&fields) {
        return refused.into_response();
    }
    let known = admit_known(&site, &visitor, &fields).await;
    enter(&site, &visitor, &fields, known, false).await
}

pub(super) async fn log_out(State(site): State<Arc<Site>>, visitor: Visitor, Form(fields): Form<Fields>) -> Response {
    if let Err(refused) = visitor.vouch(&fields) {
        return refused.into_response();
    }
    if let Err(error) = site.vault.end(visitor.secret.kept()).await {
        return answers::vault(&error);
    }
    site.left.send_modify(|left| *left += 1);
    answers::to("/")
}

/// A session under a secret that nobody had before, so that nobody can have prepared it.
async fn enter(site: &Site, visitor: &Visitor, fields: &Fields, who: Result<Person, Stays>, is_new: bool) -> Response {
    let begun = match who {
        Ok(person) => site.vault.begin(&person.id).await.map_err(Stays::from),
        Err(stays) => Err(stays),
    };
    match begun {
        Ok(secret) => {
            let mut response = answers::to("/");
            visitor::give(&mut response, &secret, site.config.is_secure);
            response
        }
        Err(stays) => {
            let name = fields.get("name").map_or("", String::as_str);
            let welcome = Welcome { token: &visitor.secret.form_token(), name, wrong: Some(&stays.sentence), is_new };
            let markup = page::welcome::page(&welcome, site.config.weather.as_ref());
            answers::page(stays.status, visitor, site.config.is_secure, markup)
        }
    }
}

async fn admit_new(site: &Site, visitor: &Visitor, fields: &Fields) -> Result<Person, Stays> {
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let id = user_of(text("name")).ok_or_else(|| {
        let told = "Choose a name of 2 to 20 letters and digits, beginning with a letter.";
        Stays::because(StatusCode::UNPROCESSABLE_ENTITY, told)
    })?;
    let password = text("password");
    if !PASSWORD_LETTERS.contains(&password.chars().count()) {
        let told = "Choose a password of at least 8 letters; a few words make a good one.";
        return Err(Stays::because(StatusCode::UNPROCESSABLE_ENTITY, told));
    }
    site.sign_ups_of_address.take(&visitor.address.to_string(), site.now()).map_err(Stays::wait)?;
    let taken = || Stays::because(StatusCode::CONFLICT, format!("The name {id} is taken. Choose another one."));
    let person = site.vault.sign_up(&id, id.as_str(), password.to_owned()).await?.ok_or_else(taken)?;
    make(site, &person).await?;
    Ok(person)
}

async fn admit_known(site: &Site, visitor: &Visitor, fields: &Fields) -> Result<Person, Stays> {
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let wrong = || Stays::because(StatusCode::UNAUTHORIZED, WRONG);
    site.log_ins_of_address.take(&visitor.address.to_string(), site.now()).map_err(Stays::wait)?;
    // What cannot be a name is treated as one that nobody has.
    let id = user_of(text("name")).unwrap_or_else(|| UserId::new("nobody-at-all").expect("can be an id"));
    site.log_ins_of_name.take(id.as_str(), site.now()).map_err(Stays::wait)?;
    let password: String = text("password").chars().take(*PASSWORD_LETTERS.end() + 1).collect();
    let person = site.vault.check(&id, password).await?.ok_or_else(wrong)?;
    make(site, &person).await?;
    Ok(person)
}

/// Makes the user at the bank, if that was not done before.
async fn make(site: &Site, person: &Person) -> Result<(), Stays> {
    if person.is_made {
        return Ok(());
    }
    let ask = Ask {
        door: &site.doors.users,
        path: "/users".to_owned(),
        body: json!({ "id": person.id, "name": person.name }),
        key: &person.claim,
        caller: &person.id,
    };
    match doors::ask(&ask).await.map(|answer| answer.status) {
        Some(200..300) => Ok(site.vault.made(&person.id).await?),
        Some(_) => {
            site.vault.give_back(person).await?;
            let told = format!("The name {} is taken. Choose another one.", person.id);
            Err(Stays::because(StatusCode::CONFLICT, told))
        }
        None => {
            let told = "The bank is not answering. Try again: the name stays yours.";
            Err(Stays::because(StatusCode::SERVICE_UNAVAILABLE, told))
        }
    }
}

/// The id of whoever is called so. It holds neither "-" nor ".", so that what is made of it can be told apart.
fn user_of(name: &str) -> Option<UserId> {
    let name = name.trim().to_lowercase();
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    (letters && begins && NAME_LETTERS.contains(&name.len())).then(|| UserId::new(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word() {
        for (name, id) in [("Ada", Some("ada")), (" bob2 ", Some("bob2")), ("a", None), ("2b", None), ("a-b", None)] {
            assert_eq!(user_of(name).as_ref().map(UserId::as_str), id, "{name}");
        }
        for name in ["", "ünï", "a b", "aaaaaaaaaaaaaaaaaaaaa", "<script>"] {
            assert_eq!(user_of(name), None, "{name}");
        }
    }
}
