//! What stands around every page: head, navigation, filter box, foot.

use maud::{DOCTYPE, Markup, html};

use super::Desk;

/// The tokens of colour and type, light and dark; other pages of the house begin their stylesheets with them.
pub const TOKENS: &str = include_str!("../../assets/tokens.css");
/// The stylesheet.
pub const STYLE: &str = concat!(include_str!("../../assets/tokens.css"), include_str!("../../assets/viewer.css"));
/// The script.
pub const SCRIPT: &str = include_str!("../../assets/viewer.js");

/// Where a page stands in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// What needs attention.
    Overview,
    /// The table.
    Events,
    /// The map.
    Map,
    /// Following money.
    Money,
    /// Recorded runs.
    Runs,
    /// Something below these.
    Elsewhere,
}

/// What is said of a page besides its body.
pub struct Head<'a> {
    /// Its title.
    pub title: &'a str,
    /// Where it stands.
    pub here: Here,
    /// What stands in the filter box.
    pub filter: &'a str,
}

impl<'a> Head<'a> {
    /// A page below the navigation's.
    pub fn below(title: &'a str) -> Self {
        Self { title, here: Here::Elsewhere, filter: "" }
    }
}

/// A whole page.
pub fn page(desk: &Desk<'_>, head: &Head<'_>, body: &Markup) -> Markup {
    let item = |here: Here, link: &str, name: &str| {
        let current = (head.here == here).then_some("page");
        html! { a href=(link) aria-current=[current] { (name) } }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (meta(head.title))
                link rel="stylesheet" href="/viewer.css";
                script type="module" src="/viewer.js" {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { (brand()) "dacapo" }
                    nav aria-label="Pages" {
                        (item(Here::Overview, &desk.link(&["overview"]), "Overview"))
                        (item(Here::Events, &desk.link(&["events"]), "Events"))
                        (item(Here::Map, &desk.link(&["map"]), "Map"))
                        @if desk.declared.is_some() { (item(Here::Money, &desk.link(&["trace-money"]), "Money")) }
                        @if desk.has_runs { (item(Here::Runs, "/runs", "Runs")) }
                    }
                    form.filter action=(desk.link(&["events"])) method="get" role="search" {
                        label.hidden for="q" { "Filter" }
                        input #q name="q" type="search" value=(head.filter) autocomplete="off" spellcheck="false"
                            placeholder="type:Transfer* key:acc-7 pence>1000";
                        kbd aria-hidden="true" { "/" }
                    }
                    (buttons())
                }
                main #main tabindex="-1" { (body) }
                footer.foot {
                    span { (desk.name) }
                    span.grow {}
                    a href="/help" { "Help" }
                }
                (notice())
            }
        }
    }
}

/// A page that stands alone, without a log to lead to.
pub fn alone(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (meta(title))
                link rel="stylesheet" href="/viewer.css";
                script type="module" src="/viewer.js" {}
            }
            body {
                header.top {
                    a.brand href="/" { (brand()) "dacapo" }
                    nav aria-label="Pages" { a href="/" { "Overview" } a href="/runs" { "Runs" } a href="/help" { "Help" } }
                    span.grow {}
                    (buttons())
                }
                main #main { (body) }
                (notice())
            }
        }
    }
}

pub(crate) fn meta(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " · Dacapo" }
        link rel="icon" href="data:,";
    }
}

/// The sign at the end of a piece that sends the player back to its beginning.
pub fn brand() -> Markup {
    html! {
        svg.logo width="22" height="22" viewBox="0 0 24 24" aria-hidden="true" {
            path d="M4 4v16M8 4v16M8 12h0" {}
            circle cx="13" cy="9" r="1.8" {}
            circle cx="13" cy="15" r="1.8" {}
            path d="M20 7a8 8 0 0 1 0 10" {}
        }
    }
}

pub(crate) fn buttons() -> Markup {
    html! {
        button.icon type="button" data-do="theme" title="Theme (t)" aria-label="Change between light and dark" hidden {
            svg width="18" height="18" viewBox="0 0 20 20" aria-hidden="true" {
                circle.ring cx="10" cy="10" r="7" {} path.half d="M10 3a7 7 0 0 1 0 14z" {}
            }
        }
        button.icon type="button" data-do="help" title="Keys (?)" aria-label="Show the keys" hidden { "?" }
    }
}

/// What the script says to people, and the list of keys that it shows.
pub(crate) fn notice() -> Markup {
    html! {
        div #notice role="status" aria-live="polite" {}
        dialog #keys aria-label="Keys" {
            h2 { "Keys" }
            (super::help::keys())
            form method="dialog" { button { "Close" } }
        }
    }
}
