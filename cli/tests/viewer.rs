//! The viewer as a person meets it: in a real browser, with a mouse and keys, from the terminal to the picture.

mod browser;
mod support;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use browser::Browser;
use serde_json::{Value, json};
use support::{Scratch, code, dacapo, run, stdout};

/// A viewer that runs, and where.
struct Viewer {
    child: Child,
    url: String,
}

impl Viewer {
    /// Starts a verb that shows something, and waits until it says where.
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = dacapo(directory);
        let mut child = command
            .args(arguments)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary can be started");
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let said = lines.map(|line| serde_json::from_str::<Value>(&line.expect("UTF-8")).expect("JSON Lines"));
        let viewing = said.into_iter().find(|line| line["kind"] == "viewing").expect("it says where it listens");
        let url = viewing["viewer"].as_str().expect("an address").trim_end_matches('/').to_owned();
        Self { child, url }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A seed that passes, recorded and shown; it has faults, rejected transfers and a few thousand records.
const SEED: &str = "3";

fn in_browser(test: &str, story: impl AsyncFnOnce(&Scratch, &mut Browser)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scratch = Scratch::new(test);
    runtime.block_on(async {
        if let Some(mut browser) = Browser::start(&scratch.path().join("profile")).await {
            browser.look(1_280, 900, false).await;
            story(&scratch, &mut browser).await;
        }
    });
}

/// How many elements a selector finds.
async fn number(browser: &mut Browser, selector: &str) -> u64 {
    browser.eval(&format!("document.querySelectorAll({selector:?}).length")).await.as_u64().expect("a number")
}

/// Clicks the first element that a selector finds, and waits for the page that it leads to.
async fn follow(browser: &mut Browser, selector: &str) {
    browser.eval(&format!("document.querySelector({selector:?}).click()")).await;
    browser.loaded().await;
}

async fn path(browser: &mut Browser) -> String {
    let path = browser.eval("decodeURIComponent(location.pathname + location.search)").await;
    path.as_str().expect("a path").to_owned()
}

#[test]
fn a_person_finds_their_way_with_mouse_and_keys() {
    in_browser("viewer-paths", async |scratch, browser| {
        let viewer = Viewer::start(scratch.path(), &["replay", SEED, "--view"]);
        let log = format!("{}/in/replay-{SEED}", viewer.url);

        // Why was a transfer rejected? The filter box, the event, its payload.
        browser.go(&format!("{log}/overview")).await;
        browser.press("/").await;
        browser.until("document.activeElement.id === 'q'").await;
        for key in "type:Rejected*".chars() {
            browser.press(&key.to_string()).await;
        }
        browser.press("Enter").await;
        browser.loaded().await;
        assert!(path(browser).await.contains("q=type:Rejected*"), "the address is the filter");
        assert!(number(browser, "#rows tr").await > 0, "some transfer was rejected");
        browser.press("j").await;
        browser.press("Enter").await;
        browser.loaded().await;
        let payload = browser.eval("document.querySelector('.payload').textContent").await;
        assert!(payload.as_str().is_some_and(|text| text.contains("reason")), "{payload}");

        // What led to it: the graph, lit and let go, its other views by number.
        follow(browser, ".actions a[href*='/correlation/']").await;
        assert_eq!(number(browser, ".node.selected").await, 1, "the event that one came from");
        browser.press("a").await;
        // What led to it is lit.
        browser.until("document.querySelector('.lighting .edge.lit')").await;
        browser.press("Escape").await;
        browser.until("!document.querySelector('.lighting')").await;
        for (key, selector) in [("2", "svg.lanes"), ("3", "svg.timeline"), ("4", "#rows"), ("1", "svg.causation")] {
            browser.press(key).await;
            browser.loaded().await;
            assert!(number(browser, selector).await > 0, "{selector}");
        }
        let width = "document.querySelector('svg.causation').getBoundingClientRect().width";
        let before = browser.eval(width).await.as_f64().expect("a width");
        browser.press("+").await;
        browser.until(&format!("{width} > {before} * 1.2")).await;

        // Which instance handled a key? Stands beside each event.
        browser.go(&format!("{log}/events?q=type:ConfirmedDebit")).await;
        follow(browser, "#rows a[href*='/key/']").await;
        let table = browser.eval("document.querySelector('main table').textContent").await;
        assert!(table.as_str().is_some_and(|text| text.contains("accounts-")), "an instance is named");
        assert!(number(browser, "th").await >= 8, "the balance stands beside each event");

        // What came of one deposit? Where its money went, and everything else that rests on it.
        browser.go(&format!("{log}/events?q=type:ConfirmedCredit%20why=deposit%20before:60")).await;
        browser.press("j").await;
        browser.press("Enter").await;
        browser.loaded().await;
        let deposit = path(browser).await;
        follow(browser, ".actions a[href*='/trace-money']").await;
        assert!(number(browser, "main table tbody tr").await > 0, "the money went somewhere");
        let told = browser.eval("document.querySelector('main').textContent").await;
        assert!(told.as_str().is_some_and(|text| text.contains("of it at most")), "how much of it is told: {told}");
        browser.go(&format!("{}{deposit}", viewer.url)).await;
        follow(browser, ".actions a[href*='/closure/']").await;
        let alone = number(browser, ".node").await;
        follow(browser, "main a[href$='?across=1']").await;
        assert!(number(browser, ".node").await > alone, "keys lead to more than causes do");

        // Themes and help.
        let paper = "getComputedStyle(document.body).backgroundColor";
        let light = browser.eval(paper).await;
        browser.press("t").await;
        browser.until(&format!("{paper} !== {light}")).await;
        browser.press("?").await;
        browser.until("document.querySelector('#keys').open").await;
        assert_eq!(browser.errors(), Vec::<String>::new());
    });
}

#[test]
fn a_run_is_stepped_through_and_its_pages_are_sound() {
    in_browser("viewer-run", async |scratch, browser| {
        let viewer = Viewer::start(scratch.path(), &["replay", SEED, "--view"]);
        let run = format!("{}/run/replay-{SEED}", viewer.url);
        browser.go(&format!("{run}?step=200")).await;
        let here = "Number(document.querySelector('.row.on, .row.here').dataset.step)";
        let first = browser.eval(here).await.as_u64().expect("a step");
        browser.press("ArrowRight").await;
        browser.until(&format!("{here} > {first}")).await;
        browser.press("ArrowLeft").await;
        browser.until(&format!("{here} === {first}")).await;
        assert!(number(browser, ".message").await > 10 && number(browser, ".fault rect").await > 0);

        let log = format!("{}/in/replay-{SEED}", viewer.url);
        let pages = [
            format!("{}/", viewer.url),
            run.clone(),
            format!("{}/runs", viewer.url),
            format!("{log}/overview"),
            format!("{log}/events"),
            format!("{log}/map"),
            format!("{log}/service/accounts"),
            format!("{log}/trace-money"),
            format!("{}/help", viewer.url),
            format!("{run}?step=200&node=accounts-0"),
        ];
        for (number, url) in pages.iter().enumerate() {
            for (look, width, dark) in [("wide-light", 1_440, false), ("phone-dark", 360, true)] {
                browser.look(width, 800, dark).await;
                browser.go(url).await;
                sound(browser, url).await;
                browser.keep(&format!("{number}-{look}")).await;
            }
        }
    });
}

/// What a page must be, whatever is on it.
async fn sound(browser: &mut Browser, url: &str) {
    let shift = browser
        .eval(
            "new Promise((tell) => { let sum = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) \
             sum += one.value; }).observe({ type: 'layout-shift', buffered: true }); setTimeout(() => tell(sum), 120); })",
        )
        .await;
    assert!(shift.as_f64().is_some_and(|shift| shift < 0.02), "{url} shifts by {shift}");
    let wide = browser.eval("document.documentElement.scrollWidth - innerWidth").await;
    assert!(wide.as_i64().is_some_and(|wide| wide <= 1), "{url} is {wide} pixels too wide");
    let unnamed = browser
        .eval(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')].filter((one) => \
             one.getClientRects().length && !(one.textContent.trim() || one.ariaLabel || one.title || one.labels?.length))\
             .map((one) => one.outerHTML).join('\\n')",
        )
        .await;
    assert_eq!(unnamed, json!(""), "{url}: everything that can be used has a name");
    for (what, selector) in [("main", "main"), ("h1", "h1"), ("language", "html[lang]"), ("title", "head > title")] {
        assert_eq!(number(browser, selector).await, 1, "{url} has one {what}");
    }
    let twice =
        "[...document.querySelectorAll('[id]')].map((one) => one.id).filter((id, at, all) => all.indexOf(id) !== at)";
    assert_eq!(browser.eval(twice).await, json!([]), "{url}: an id names one thing");
    let blocking = "document.querySelectorAll('script:not([type=module], [type*=json]), link[rel=stylesheet] ~ link[rel=stylesheet]').length";
    assert_eq!(browser.eval(blocking).await, json!(0), "{url}: no script blocks, one stylesheet");
    // The order of the keyboard is the order of the page.
    browser.eval("document.activeElement?.blur()").await;
    let mut last = json!(-1);
    for _ in 0..6 {
        browser.press("Tab").await;
        let place = browser.eval("[...document.querySelectorAll('*')].indexOf(document.activeElement)").await;
        assert!(place.as_i64() > last.as_i64(), "{url}: focus goes back");
        last = place;
    }
    assert_eq!(browser.errors(), Vec::<String>::new(), "{url}");
    let host = url.split('/').nth(2).expect("a host").to_owned();
    let strange: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|request| !request.contains(&host) && !request.starts_with("data:") && !request.starts_with("file:"))
        .collect();
    assert_eq!(strange, Vec::<String>::new(), "{url} asks others");
}

#[test]
fn a_page_that_stands_alone_needs_nobody() {
    in_browser("viewer-alone", async |scratch, browser| {
        {
            // Recorded by showing it.
            let _viewer = Viewer::start(scratch.path(), &["replay", SEED, "--view"]);
        }
        let export = |name: &str| {
            let output = run(scratch.path(), &["export", &format!("replay-{SEED}"), "-o", name]);
            assert_eq!(code(&output), 0, "{output:?}");
            std::fs::read_to_string(scratch.path().join(name)).expect("is written")
        };
        let page = export("run.html");
        assert_eq!(page, export("again.html"), "byte for byte");
        let records = export("run.jsonl").lines().count();
        let per_ten_thousand = page.len() * 10_000 / records;
        assert!(per_ten_thousand < 1_000_000, "{per_ten_thousand} bytes for 10,000 records");
        assert!(export("run.svg").contains("<svg") && export("run.dot").starts_with("digraph"));

        let url = format!("file://{}", scratch.path().join("run.html").display());
        browser.look(1_440, 900, false).await;
        browser.go(&url).await;
        sound(browser, &url).await;
        let packed = number(browser, ".chunk.packed").await;
        assert!(packed > 3, "most of it is packed");
        browser.eval("document.querySelector('.space').scrollTop = 0").await;
        // It is drawn when one gets there, from the first step on.
        browser.until(&format!("document.querySelectorAll('.chunk.packed').length < {packed}")).await;
        browser.until("document.querySelector('[data-step=\"1\"]')").await;
        assert_eq!(browser.requests().len(), 1, "nothing but the file: {:?}", browser.requests());
        assert_eq!(browser.errors(), Vec::<String>::new());
        browser.keep("alone").await;
    });
}

#[test]
fn a_failing_seed_leaves_a_picture_whose_command_fails_again() {
    if !dacapo_core::planted::BUILT_IN {
        return;
    }
    in_browser("viewer-failing", async |scratch, browser| {
        let output = run(scratch.path(), &["sim", "--bug", "overdraft-unguarded", "--json"]);
        assert_eq!(code(&output), 1);
        let said: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let picture = said.iter().find(|line| line["kind"] == "picture").expect("it names the picture");
        let page = scratch.path().join(picture["page"].as_str().expect("a path"));
        let url = format!("file://{}", page.display());
        browser.go(&url).await;
        let text = browser.eval("document.body.innerText").await;
        let text = text.as_str().expect("a text");
        assert!(text.contains("no account ever holds less than nothing"), "the sentence");
        assert!(text.matches("ConfirmedDebit").count() >= 2, "the two events");
        assert!(number(browser, ".violation").await == 1, "the violation stands in the diagram");
        assert!(number(browser, ".knew td.bad").await > 0, "and what the account then held");
        let command = browser.eval("document.querySelector('[data-copy]').dataset.copy").await;
        let words: Vec<&str> = command.as_str().expect("a command").split(' ').skip(1).collect();
        let again = run(scratch.path(), &words);
        assert_eq!(code(&again), 1, "{again:?}");
        assert!(stdout(&again).contains("no_overdraft"));
        assert_eq!(browser.requests().len(), 1, "nothing but the file: {:?}", browser.requests());
        browser.look(1_440, 1_200, true).await;
        browser.keep("failing-dark").await;
    });
}

/// The command that makes the README's pictures, but for its file and its theme.
const PICTURE: [&str; 4] = ["export", "overdraft", "--rows", "34"];

#[test]
fn the_pictures_of_the_readme_are_what_their_command_makes() {
    if !dacapo_core::planted::BUILT_IN {
        return;
    }
    let scratch = Scratch::new("viewer-pictures");
    assert_eq!(code(&run(scratch.path(), &["sim", "--bug", "overdraft-unguarded"])), 1);
    let runs = std::fs::read_dir(scratch.path().join(".dacapo/runs")).expect("is recorded");
    let small = runs
        .filter_map(|entry| entry.expect("can be read").file_name().into_string().ok())
        .find(|name| name.ends_with("-small"))
        .expect("the smallest run is recorded");
    for theme in ["light", "dark"] {
        let mut arguments = PICTURE.to_vec();
        arguments[1] = &small;
        arguments.extend(["--theme", theme, "-o", "picture.svg"]);
        let output = run(scratch.path(), &arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        let made = std::fs::read_to_string(scratch.path().join("picture.svg")).expect("is written");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
        let path = root.join(format!("docs/pictures/failure-{theme}.svg"));
        if std::env::var_os("DACAPO_UPDATE_README").is_some() {
            std::fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
            std::fs::write(&path, &made).expect("can be written");
        }
        let shown = std::fs::read_to_string(&path).expect("the README shows it");
        // Which run fails first changes with the code; what the picture says of it does not.
        for (what, class) in [("the promise", "<g class=\"violation\""), ("the bus", "<text class=\"lanename\"")] {
            let last = |picture: &str| {
                let (_, rest) = picture.rsplit_once(class).unwrap_or_else(|| panic!("{what} is in the picture"));
                let (_, rest) = rest.split_once("<text").unwrap_or(("", rest));
                rest.split('>').nth(1).and_then(|text| text.split('<').next()).unwrap_or_default().to_owned()
            };
            assert_eq!(last(&shown), last(&made), "{}: DACAPO_UPDATE_README=1 makes it anew", path.display());
        }
        let message = |picture: &str| picture.matches("<path class=\"message").count();
        assert!(message(&shown) > 3 && message(&made) > 3, "messages are drawn");
    }
}

#[test]
fn the_first_difference_of_two_runs_is_shown() {
    in_browser("viewer-compare", async |scratch, browser| {
        for arguments in [vec!["replay", SEED, "--view"], vec!["replay", "5", "--view"]] {
            let _recorded = Viewer::start(scratch.path(), &arguments);
        }
        let viewer = Viewer::start(scratch.path(), &["view", ".dacapo/runs", "--listen", "127.0.0.1:0"]);
        browser.go(&format!("{}/compare?a=replay-{SEED}&b=replay-5", viewer.url)).await;
        assert_eq!(number(browser, "#first").await, 1);

        // What a node knew of a key, in both: chosen for whoever asks nothing, and stepped through.
        let look = "[...document.querySelectorAll('form.moment input[type=number], form.moment select, form.moment input[name=key]')]\
                    .map((one) => one.value)";
        let chosen = browser.eval(look).await;
        let [step, node, key] = [0, 1, 2].map(|at| chosen[at].as_str().expect("a value").to_owned());
        assert!(!node.is_empty() && !key.is_empty(), "a node and a key are chosen: {chosen}");
        assert!(number(browser, "table.states tr.differs").await > 0, "they come to know different things");
        browser.press("ArrowRight").await;
        browser.loaded().await;
        let next = step.parse::<u64>().expect("a step") + 1;
        assert_eq!(browser.eval(look).await, json!([next.to_string(), node, key]), "a step on, the same node and key");
        follow(browser, "table.states tr.differs a").await;
        assert_eq!(number(browser, "table.states tbody tr:first-child.differs").await, 1);
        for (look, width, dark) in [("wide-light", 1_440, false), ("phone-dark", 360, true)] {
            browser.look(width, 800, dark).await;
            let url = format!("{}/compare?a=replay-{SEED}&b=replay-5", viewer.url);
            browser.go(&url).await;
            sound(browser, &url).await;
            browser.keep(&format!("compare-{look}")).await;
        }
        browser.go(&format!("{}/compare?a=replay-{SEED}&b=replay-{SEED}", viewer.url)).await;
        let text = browser.eval("document.body.innerText").await;
        assert!(text.as_str().is_some_and(|text| text.contains("They are the same")));
        assert_eq!(code(&run(scratch.path(), &["diff", &format!("replay-{SEED}"), "replay-5"])), 5);
        assert_eq!(code(&run(scratch.path(), &["diff", "replay-5", "replay-5"])), 0);
        assert_eq!(browser.errors(), Vec::<String>::new());
    });
}
