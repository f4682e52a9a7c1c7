//! What stands around every page: head, name, faults, foot.

use dacapo_reporting::page::frame::brand;
use maud::{DOCTYPE, Markup, html};

use crate::{site::User, weather::Weather};

/// What a page says of itself besides its body.
#[derive(Default)]
pub(super) struct Head<'a> {
    /// Who is there.
    pub(super) user: Option<&'a User>,
    /// What forms bear.
    pub(super) token: &'a str,
    /// Faults, where there are some.
    pub(super) weather: Option<&'a Weather>,
}

/// A whole page.
pub(super) fn page(title: &str, head: &Head<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Da Capo Bank" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/bank.css";
                script type="module" src="/bank.js" {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { (brand()) "Da Capo Bank" }
                    span.grow {}
                    @if head.user.is_some() {
                        span #line .line role="status" hidden { span.dot aria-hidden="true" {} span data-f="line" {} }
                    }
                    @if let Some(user) = head.user { span.who { (user.name) } }
                    button.icon type="button" data-do="theme" title="Theme (t)" aria-label="Change between light and dark" hidden {
                        svg width="18" height="18" viewBox="0 0 20 20" aria-hidden="true" {
                            circle.ring cx="10" cy="10" r="7" {} path.half d="M10 3a7 7 0 0 1 0 14z" {}
                        }
                    }
                    @if head.user.is_some() {
                        button.icon type="button" data-do="keys" title="Keys (?)" aria-label="Show the keys" hidden { "?" }
                        form action="/log-out" method="post" {
                            input type="hidden" name="token" value=(head.token);
                            button type="submit" { "Log out" }
                        }
                    }
                }
                @if let Some(weather) = head.weather { (strip(weather, head.token)) }
                main #main tabindex="-1" { (body) }
                footer.foot {
                    span { "A demonstration: the money is not real." }
                }
            }
        }
    }
}

/// What goes wrong just now, where things are let go wrong.
fn strip(weather: &Weather, token: &str) -> Markup {
    let report = weather.now();
    let audit = if report.audit.is_empty() { "not audited yet" } else { &report.audit };
    html! {
        aside #weather .weather aria-label="Faults" data-sound=(report.sound) {
            strong { "Chaos" }
            span.fault data-f="sentence" role="log" {
                @if report.sentence.is_empty() { "nothing has gone wrong yet" } @else { (report.sentence) }
            }
            span.audit data-f="audit" { (audit) }
            form action="/chaos/destroy" method="post" data-deed="destroy" {
                input type="hidden" name="token" value=(token);
                button.small type="submit" { "Destroy all state" }
            }
            form action="/chaos/hold" method="post" data-deed="hold" {
                input type="hidden" name="token" value=(token);
                button.small type="submit" { "Hold up payments, or let them go" }
            }
        }
    }
}
