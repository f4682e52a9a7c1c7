//! The bank's page as people meet it: in real browsers, on the demo, with the services, the bus and its file behind it.

mod browser;
#[path = "page/demo.rs"]
mod demo;
#[path = "page/person.rs"]
mod person;
mod support;

use std::time::Duration;

use browser::Browser;
use demo::{Demo, fold};
use person::Person;
use serde_json::{Value, json};
use support::Scratch;

/// Runs a story with as many browsers as it has people, if there is a browser.
fn with_people<const N: usize>(test: &str, story: impl AsyncFnOnce(&Scratch, [Browser; N])) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scratch = Scratch::new(test);
    runtime.block_on(async {
        let mut browsers = Vec::new();
        for number in 0..N {
            let Some(mut browser) = Browser::start(&scratch.path().join(format!("profile-{number}"))).await else {
                return;
            };
            browser.look(1_280, 900, false).await;
            browsers.push(browser);
        }
        let browsers = browsers.try_into().unwrap_or_else(|_| unreachable!("there are N of them"));
        story(&scratch, browsers).await;
    });
}

#[test]
fn a_person_sees_what_becomes_of_everything_that_they_ask_for() {
    with_people("page-paths", async |scratch, [browser]| {
        let demo = Demo::start(scratch.path(), &["--customers", "0"]);
        let mut ada = Person::sign_up(browser, &demo, "ada").await;
        ada.browser.keep("bank-empty").await;

        // With keys alone: the field of the only thing to do, and what comes next.
        ada.browser.press("o").await;
        ada.type_text("Everyday").await;
        ada.browser.press("Enter").await;
        ada.until("document.querySelector('[data-id=ada-everyday] .balance')").await;
        // What one does next. The account itself may be seen before the answer to what opened it.
        ada.until("document.querySelector('#tab-deposit').checked").await;
        ada.submit("deposit", &[("amount", "£1,000.50")]).await;
        ada.balance("ada-everyday", "£1,000.50").await;
        ada.submit("open", &[("name", "Holidays")]).await;
        ada.until("document.querySelector('[data-id=ada-holidays] .balance')").await;

        // Accepted, and worth points; the money and the entry are there without a reload.
        ada.submit(
            "pay",
            &[("account", "ada-everyday"), ("to", "ada-holidays"), ("amount", "250"), ("reference", "for the sea")],
        )
        .await;
        ada.balance("ada-everyday", "£750.50").await;
        ada.balance("ada-holidays", "£250.00").await;
        ada.until("document.querySelector('[data-id=ada-everyday] .points').textContent === '2,500 nectar points'")
            .await;
        ada.until(
            "document.querySelector('.order[data-status=accepted] .title')?.textContent === '£250.00 to ada-holidays'",
        )
        .await;
        // Points pay back a tenth.
        ada.submit("pay", &[("account", "ada-everyday"), ("to", "ada-holidays"), ("amount", "50")]).await;
        ada.balance("ada-everyday", "£705.50").await;
        // Rejected, and why.
        ada.submit("pay", &[("account", "ada-everyday"), ("to", "ada-holidays"), ("amount", "5000")]).await;
        ada.until("document.querySelector('.order[data-status=rejected] .sentence')?.textContent.includes('not enough money')").await;
        ada.submit("withdraw", &[("account", "ada-holidays"), ("amount", "999")]).await;
        ada.until("[...document.querySelectorAll('#deed-withdraw .wrong')].some(p => !p.hidden && p.textContent.includes('not enough'))").await;
        ada.submit("withdraw", &[("account", "ada-holidays"), ("amount", "0.50")]).await;
        ada.balance("ada-holidays", "£299.50").await;
        ada.submit("pay", &[("account", "ada-everyday"), ("to", "nobody-at-all"), ("amount", "1")]).await;
        ada.until("[...document.querySelectorAll('.order .sentence')].some(p => p.textContent.includes('no account nobody-at-all'))").await;
        // What is no amount never leaves the page.
        ada.submit("deposit", &[("account", "ada-everyday"), ("amount", "lots")]).await;
        ada.until("document.querySelector('#deposit-amount').getAttribute('aria-invalid') === 'true'").await;
        ada.until("document.querySelector('[data-f=total]').textContent === '£1,005.00'").await;

        ada.submit(
            "pay",
            &[("account", "ada-everyday"), ("to", "ada-holidays"), ("amount", "5.50"), ("reference", "an ice")],
        )
        .await;
        ada.balance("ada-everyday", "£700.00").await;

        looks_right(&mut ada).await;
        reducers_are_pure(&mut ada).await;

        // From a payment to what caused it, in the viewer.
        let trail = ada.browser.eval("document.querySelector('.order[data-status=accepted] .trail').href").await;
        ada.browser.go(trail.as_str().expect("an address")).await;
        let graph = ada.browser.eval("document.querySelectorAll('svg.causation .node').length").await;
        assert!(graph.as_u64().is_some_and(|nodes| nodes >= 4), "ordered, accepted, debited, credited: {graph}");

        // Out, and in again; not with another password.
        ada.browser.go(&demo.page).await;
        ada.live().await;
        ada.follow("document.querySelector('form[action=\"/log-out\"] button').click()").await;
        ada.enter("/log-in", "ada", "not her password").await;
        let told = ada.browser.eval("document.querySelector('[role=alert]').textContent").await;
        assert_eq!(told, json!("That name and password do not belong together."));
        ada.enter("/log-in", "ada", person::PASSWORD).await;
        ada.balance("ada-everyday", "£700.00").await;
        assert_eq!(ada.browser.errors_but(&["401"]), Vec::<String>::new());
    });
}

/// Everything has a name, nothing is cut off on a phone, and both themes are there.
async fn looks_right(ada: &mut Person) {
    let unnamed = "[...document.querySelectorAll('input:not([type=hidden]), select, button, a')]
        .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).map(e => e.outerHTML)";
    assert_eq!(ada.browser.eval(unnamed).await, json!([]));
    let order = "[...document.querySelectorAll('[tabindex]')].filter(e => e.tabIndex > 0).length";
    assert_eq!(ada.browser.eval(order).await, json!(0), "focus goes where the page reads");
    assert!(
        ada.browser.eval("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length").await.as_u64()
            > Some(3)
    );
    for (width, dark) in [(1_280, false), (1_280, true), (360, false), (360, true)] {
        ada.browser.look(width, 900, dark).await;
        let widest = ada.browser.eval("document.documentElement.scrollWidth").await;
        assert!(widest.as_u64() <= Some(u64::from(width)), "{widest} at {width}");
        ada.browser.keep(&format!("bank-{width}-{}", if dark { "dark" } else { "light" })).await;
    }
    // Those of the README: `DACAPO_UPDATE_README=1 cargo test --package dacapo --test page` makes them anew.
    ada.browser.eval("document.activeElement.blur()").await;
    ada.browser.press("1").await;
    ada.browser.press("p").await;
    ada.browser.eval("document.activeElement.blur()").await;
    ada.until("document.querySelector('#statement-title').textContent === 'Everyday'").await;
    for (name, dark) in [("bank-light", false), ("bank-dark", true)] {
        ada.browser.look(1_120, 860, dark).await;
        ada.browser.picture(name).await;
    }
    ada.browser.look(1_280, 900, false).await;
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = ada.browser.eval(paper).await;
    ada.browser.eval("document.activeElement.blur()").await;
    ada.browser.press("t").await;
    ada.until(&format!("{paper} !== {light}")).await;
    ada.browser.press("?").await;
    ada.until("document.querySelector('#keys').open").await;
    ada.browser.eval("document.querySelector('#keys').close()").await;
}

/// The page's one state changes by reducers alone: they leave the former state as it was, take the same news twice without
/// harm, and write money as the server does.
async fn reducers_are_pure(ada: &mut Person) {
    let script = "(async () => {
        const { reduce, nothing, underWay, pounds, amount } = await import('/bank.js');
        const freeze = (value) => { if (value && typeof value === 'object') { Object.values(value).forEach(freeze); Object.freeze(value); } return value; };
        const entry = (position, balance) => ({ position, change: 'entry', account: 'a-x', balance, entry: { position, balance, pence: 5, request: `r${position}` } });
        const account = { id: 'a-x', name: 'X', balance: 0, points: 0, entries: [], more: false };
        let state = reduce(freeze(nothing), { type: 'told', position: 4, accounts: [account], payments: [] });
        state = reduce(freeze(state), { type: 'asked', ask: { request: 'r6', deed: 'withdraw', account: 'a-x', pence: 5 } });
        const out = underWay(state, 'a-x').out;
        const news = { type: 'news', position: 7, news: [entry(5, 10), entry(6, 5)] };
        state = reduce(freeze(state), news);
        const once = JSON.stringify(state);
        state = reduce(freeze(state), news);
        const late = reduce(freeze(state), { type: 'answered', request: 'r6', outcome: { outcome: 'accepted', position: 6, sentence: '' } });
        let strange = '';
        try { reduce(state, { type: 'no such thing' }); } catch (error) { strange = error.message; }
        return { out, same: JSON.stringify(state) === once, balance: state.accounts[0].balance, entries: state.accounts[0].entries.length,
            asks: late.asks.length, position: state.position, strange, pounds: [0, 5, 99999, 123456789].map(pounds),
            amounts: ['12', '12.5', '£1,234.50', '.5', '', '0', '1.234', '1e3', '-1'].map(amount) };
    })()";
    let expected = json!({
        "out": 5, "same": true, "balance": 5, "entries": 2, "asks": 0, "position": 7, "strange": "no such action: no such thing",
        "pounds": ["£0.00", "£0.05", "£999.99", "£1,234,567.89"],
        "amounts": [1_200, 1_250, 123_450, 50, null, null, null, null, null],
    });
    assert_eq!(ada.browser.eval(script).await, expected);
}

#[test]
fn two_people_pay_each_other_and_see_it_at_once_and_nothing_else_of_each_other() {
    with_people("page-two", async |scratch, [first, second]| {
        let demo = Demo::start(scratch.path(), &["--customers", "1"]);
        let mut ada = Person::with_account(first, &demo, "ada", "500").await;
        let mut bob = Person::with_account(second, &demo, "bob", "100").await;
        ada.submit("pay", &[("to", "bob-everyday"), ("amount", "120"), ("reference", "rent")]).await;
        bob.balance("bob-everyday", "£220.00").await;
        ada.balance("ada-everyday", "£380.00").await;
        bob.submit("pay", &[("to", "ada-everyday"), ("amount", "20")]).await;
        ada.balance("ada-everyday", "£400.00").await;
        bob.until("document.querySelector('.entry .title').textContent === 'To ada-everyday'").await;
        ada.until(
            "[...document.querySelectorAll('.entry .title')].some(title => title.textContent === 'From bob-everyday')",
        )
        .await;

        // What the pages were told, frame by frame, and what they may ask for.
        for (one, other, secrets) in [(&mut ada, "bob", [22_000, 20_000]), (&mut bob, "ada", [38_000, 40_000])] {
            let told = one.browser.heard().await;
            assert!(told.iter().any(|frame| frame["kind"] == "news"), "{told:?}");
            let init: Value = one.browser.eval("fetch('/init').then(answer => answer.json())").await;
            let everything = json!([init, told]);
            let numbers = numbers(&everything);
            let everything = everything.to_string();
            for secret in secrets {
                assert!(!numbers.contains(&secret), "what {other} holds is told: {everything}");
            }
            assert!(!everything.contains("customer-"), "a stranger is told of: {everything}");
            assert!(!everything.contains(&format!("\"id\":\"{other}-everyday\"")), "{everything}");
            let page =
                one.browser.eval(&format!("fetch('/accounts/{other}-everyday').then(answer => answer.status)")).await;
            assert_eq!(page, json!(404));
            let stolen = one.send("withdraw", &json!({"account": format!("{other}-everyday"), "amount": "1"})).await;
            assert_eq!((&stolen["outcome"], &stolen["reason"]), (&json!("rejected"), &json!("account")));
            let stolen =
                json!({"account": format!("{other}-everyday"), "to": format!("{}-everyday", one.name), "amount": "1"});
            assert_eq!(one.send("pay", &stolen).await["outcome"], json!("rejected"));
        }
        ada.balance("ada-everyday", "£400.00").await;
        bob.balance("bob-everyday", "£200.00").await;
        assert_eq!(bob.browser.errors_but(&["404"]), Vec::<String>::new());
    });
}

/// All the numbers in it. As texts they could be part of a time.
fn numbers(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        other => other.as_i64().into_iter().collect(),
    }
}

#[test]
fn a_page_that_was_cut_off_is_told_what_it_missed_and_a_payment_sent_meanwhile_happens_once() {
    with_people("page-cut", async |scratch, [first, second]| {
        let mut demo = Demo::start(scratch.path(), &["--customers", "0"]);
        let mut ada = Person::with_account(first, &demo, "ada", "500").await;
        let mut bob = Person::with_account(second, &demo, "bob", "100").await;
        ada.submit("pay", &[("to", "bob-everyday"), ("amount", "1")]).await;
        ada.balance("ada-everyday", "£499.00").await;
        bob.balance("bob-everyday", "£101.00").await;

        // The power goes. Both ask for something all the same; Bob's network is gone as well.
        demo.kill();
        ada.until("document.querySelector('#line').dataset.line === 'lost'").await;
        ada.submit("pay", &[("to", "bob-everyday"), ("amount", "30"), ("reference", "in the dark")]).await;
        ada.until(
            "document.querySelector('.order[data-status=pending] .title')?.textContent === '£30.00 to bob-everyday'",
        )
        .await;
        ada.until("document.querySelector('[data-id=ada-everyday] .pending').textContent.includes('−£30.00')").await;
        bob.browser.offline(true).await;
        bob.browser.heard().await;
        demo.restart();
        ada.balance("ada-everyday", "£469.00").await;
        ada.submit("pay", &[("to", "bob-everyday"), ("amount", "2"), ("reference", "while you were away")]).await;
        ada.balance("ada-everyday", "£467.00").await;
        bob.browser.offline(false).await;
        bob.balance("bob-everyday", "£133.00").await;

        // He was told what he had missed, and nothing that he knew.
        let told = bob.browser.heard().await;
        let told: Vec<&Value> =
            told.iter().filter(|frame| frame["kind"] == "news" || frame["kind"] == "state").collect();
        assert!(told.iter().all(|frame| frame["kind"] == "news"), "{told:?}");
        let entries: usize = told.iter().map(|frame| frame["news"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!(entries, 2, "{told:?}");
        bob.until("document.querySelectorAll('.entry').length === 4").await;
        assert_eq!(fold(&demo, "ada-everyday").await, 46_700, "the payment that was sent in the dark happened once");
        assert_eq!(fold(&demo, "bob-everyday").await, 13_300);
    });
}

#[test]
fn every_service_s_state_is_destroyed_while_customers_are_at_work_and_all_balances_are_right_again() {
    with_people("page-chaos", async |scratch, [first, second]| {
        let mut demo = Demo::start(scratch.path(), &["--customers", "3", "--chaos", "--chaos-seed", "7"]);
        let mut ada = Person::with_account(first, &demo, "ada", "500").await;
        let mut bob = Person::with_account(second, &demo, "bob", "500").await;
        for round in 1..=3 {
            ada.submit("pay", &[("to", "bob-everyday"), ("amount", "10")]).await;
            bob.submit("pay", &[("to", "ada-everyday"), ("amount", "4")]).await;
            if round == 1 {
                ada.browser.eval("document.querySelector('form[data-deed=destroy]').requestSubmit()").await;
                ada.until("/destroyed|killed|held up|breaks|lose/.test(document.querySelector('#weather .fault').textContent)")
                    .await;
            }
            // The page tells the latest fault alone, and the next one may come at once: the answer is what counts.
            assert!(ada.chaos("destroy").await.contains("the state of all services is destroyed"));
            ada.submit("pay", &[("to", "bob-everyday"), ("amount", "1")]).await;
            let (of_ada, of_bob) = (50_000 - 700 * round, 50_000 + 700 * round);
            ada.balance("ada-everyday", &format!("£{}.00", of_ada / 100)).await;
            bob.balance("bob-everyday", &format!("£{}.00", of_bob / 100)).await;
        }
        ada.browser.keep("bank-chaos").await;
        // A page that is opened now is made from the state that was made again.
        for (person, account, pence) in [(&mut ada, "ada-everyday", 47_900), (&mut bob, "bob-everyday", 52_100)] {
            person.browser.go(&demo.page).await;
            person.balance(account, &format!("£{}.00", pence / 100)).await;
            assert_eq!(fold(&demo, account).await, pence);
        }
        let audit = ada.browser.eval("fetch('/audit').then(answer => answer.json())").await;
        assert_eq!(audit["sound"], json!(true), "{audit}");
        let concluded = demo.end();
        assert_eq!(concluded["sound"], json!(true), "{concluded}");
    });
}

#[test]
fn a_payment_that_is_held_up_stays_pending_and_its_outcome_is_seen_without_a_reload() {
    with_people("page-pending", async |scratch, [browser]| {
        let demo = Demo::start(scratch.path(), &["--customers", "0", "--chaos", "--chaos-seed", "7"]);
        let mut ada = Person::with_account(browser, &demo, "ada", "500").await;
        ada.submit("open", &[("name", "Holidays")]).await;
        ada.until("document.querySelector('[data-id=ada-holidays] .balance')").await;
        // Whoever reloads loses this.
        ada.browser.eval("globalThis.sameDocument = true").await;

        ada.browser.eval("document.querySelector('form[data-deed=hold]').requestSubmit()").await;
        // Nothing else goes wrong meanwhile, so this stays to be read.
        ada.until("document.querySelector('#weather .fault').textContent.includes('payments are held up')").await;
        for (amount, reference) in [("120", "rent"), ("9000", "a boat")] {
            let order =
                [("account", "ada-everyday"), ("to", "ada-holidays"), ("amount", amount), ("reference", reference)];
            ada.submit("pay", &order).await;
        }
        ada.until("document.querySelectorAll('.order[data-status=pending]').length === 2").await;
        let under_way =
            "document.querySelector('[data-id=ada-everyday] .pending').textContent === '−£9,120.00 pending'";
        ada.until(under_way).await;
        // Who is to get it is told when it is decided.
        ada.until("document.querySelector('[data-id=ada-holidays] .pending').hidden").await;
        ada.browser.keep("bank-pending").await;
        // Nothing is decided while nobody decides, and what is on its way is no money yet.
        ada.browser.stays(under_way, Duration::from_millis(2_500)).await;
        ada.balance("ada-everyday", "£500.00").await;
        assert_eq!(fold(&demo, "ada-everyday").await, 50_000);

        assert!(ada.chaos("hold").await.contains("payments go on"));
        ada.until(
            "document.querySelector('.order[data-status=accepted] .title')?.textContent === '£120.00 to ada-holidays'",
        )
        .await;
        ada.until("document.querySelector('.order[data-status=rejected] .sentence')?.textContent.includes('not enough money')")
            .await;
        ada.until("document.querySelector('[data-id=ada-everyday] .pending').hidden").await;
        ada.balance("ada-everyday", "£380.00").await;
        ada.balance("ada-holidays", "£120.00").await;
        assert_eq!(ada.browser.eval("globalThis.sameDocument").await, json!(true), "it was told, not loaded again");
    });
}

#[test]
fn everything_but_the_live_changes_works_without_script() {
    with_people("page-plain", async |scratch, [mut browser]| {
        let demo = Demo::start(scratch.path(), &["--customers", "0"]);
        browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
        browser.go(&demo.page).await;
        let mut eve = Person::new(browser, "eve");
        eve.enter("/sign-up", "eve", person::PASSWORD).await;
        eve.post("open", &[("name", "Purse")]).await;
        eve.post("deposit", &[("amount", "20")]).await;
        assert!(eve.text("#outcome").await.contains("£20.00 paid into Purse"));
        eve.post("withdraw", &[("amount", "5.5")]).await;
        assert_eq!(eve.text("[data-id=eve-purse] .balance").await, "£14.50");
        assert_eq!(eve.text(".entry .title").await, "Withdrawn");
        eve.post("pay", &[("to", "nobody-x"), ("amount", "1")]).await;
        assert!(eve.text("#outcome").await.contains("There is no account nobody-x"));
        assert!(eve.text(".order").await.contains("rejected"));
        eve.browser.keep("bank-without-script").await;
    });
}
