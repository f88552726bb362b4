//! What `renamed_from` says, and what it cannot say.

use super::*;

/// A story of these SLOs, each a name and a line of TOML, with a line of its own.
fn story(name: &str, line: &str, slos: &[(&str, &str)]) -> String {
    let slo = |(name, line): &(&str, &str)| {
        format!(
            "[[slo]]\nname = \"{name}\"\n{line}\nobjective = 99.0\n[slo.availability]\nsource = \"lb\"\nrequests = [\"GET /\"]\n"
        )
    };
    format!("[story]\nname = \"{name}\"\n{line}\n{}", slos.iter().map(slo).collect::<String>())
}

/// The stories in files `0.toml`, `1.toml` and so on.
fn load_stories(stories: &[String]) -> Result<Loaded, Vec<String>> {
    let engine = ENGINE.replace("[gate.service.api]\nmin_events = 5\n", "");
    let names: Vec<String> = (0..stories.len()).map(|number| format!("{number}.toml")).collect();
    let files = names.iter().zip(stories).map(|(name, text)| (name.as_str(), text.as_str()));
    load(&files.chain([("slogate.toml", engine.as_str())]).collect::<Vec<_>>())
}

/// What SLOs were called before, as lines, the services behind.
#[track_caller]
fn check_sound(stories: &[String], expected: &[&str]) {
    let catalog = load_stories(stories).unwrap().catalog;
    let slo = |(id, formerly): (&SloId, &Vec<(String, String)>)| {
        let formerly: Vec<String> = formerly.iter().map(|(story, slo)| format!("{story}/{slo}")).collect();
        format!("{}/{}: {}", catalog.story_of(*id).name, catalog[*id].name, formerly.join(" "))
    };
    let service = |(id, from): (&ServiceId, &String)| format!("{}: {from}", catalog[*id].name);
    let found: Vec<String> =
        catalog.renames.slos.iter().map(slo).chain(catalog.renames.services.iter().map(service)).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_refused(stories: &[String], expected: &[&str]) {
    let found = load_stories(stories).expect_err("it is refused");
    let found: Vec<&str> = found.iter().map(|line| line.strip_prefix("specs/").unwrap_or(line)).collect();
    assert_eq!(found, expected);
}

const API: &str = "service = \"api\"";

#[test]
fn i05_an_slo_says_its_old_name_and_where_it_was() {
    check_sound(&[story("shop", API, &[("up", ""), ("fast", "")])], &[]);
    check_sound(&[story("shop", API, &[("up", "renamed_from = \"ok\""), ("fast", "")])], &["shop/up: shop/ok"]);
    check_sound(&[story("shop", API, &[("up", "renamed_from = \"cart/ok\"")])], &["shop/up: cart/ok"]);
}

#[test]
fn i05_a_story_says_its_old_name_for_all_of_its_slos_whenever_they_were_renamed() {
    let both = [("up", "renamed_from = \"ok\""), ("fast", "")];
    check_sound(
        &[story("shop", &format!("{API}\nrenamed_from = \"store\""), &both)],
        &["shop/up: shop/ok store/ok store/up", "shop/fast: store/fast"],
    );
    let moved = story("shop", &format!("{API}\nrenamed_from = \"store\""), &[("up", "renamed_from = \"cart/up\"")]);
    check_sound(&[moved], &["shop/up: cart/up store/up"]);
    // Both keys say the same.
    let twice = story("shop", &format!("{API}\nrenamed_from = \"store\""), &[("up", "renamed_from = \"store/up\"")]);
    check_sound(&[twice], &["shop/up: store/up"]);
}

#[test]
fn i05_a_service_that_has_its_name_from_a_story_is_renamed_with_it() {
    let renamed = "renamed_from = \"store\"";
    check_sound(&[story("shop", renamed, &[("up", "")])], &["shop/up: store/up", "shop: store"]);
    check_sound(
        &[story("shop", &format!("service = \"shop\"\n{renamed}"), &[("up", "")])],
        &["shop/up: store/up", "shop: store"],
    );
    // The service kept its name, or somebody else still has it.
    let kept = story("shop", &format!("service = \"store\"\n{renamed}"), &[("up", "")]);
    check_sound(&[kept], &["shop/up: store/up"]);
    let other = story("cart", "service = \"store\"", &[("up", "")]);
    check_sound(&[story("shop", renamed, &[("up", "")]), other], &["shop/up: store/up"]);
}

#[test]
fn i05_a_name_that_is_still_there_was_not_given_up() {
    check_refused(
        &[story("shop", API, &[("up", "renamed_from = \"fast\""), ("fast", "")])],
        &[
            "0.toml:6:16: `renamed_from`: `shop/fast` is in these specs, so that nothing goes on in its place; take out \
           one of the two",
        ],
    );
    check_refused(
        &[story("shop", API, &[("up", "renamed_from = \"shop/up\"")])],
        &["0.toml:6:16: `renamed_from`: `shop/up` is its name, and not one that it had before"],
    );
    check_refused(
        &[story("shop", "renamed_from = \"cart\"", &[("up", "")]), story("cart", API, &[("fast", "")])],
        &[
            "0.toml:3:16: `renamed_from`: `cart` is in these specs, so that nothing goes on in its place; take out one of \
           the two",
        ],
    );
    check_refused(
        &[story("shop", "renamed_from = \"shop\"", &[("up", "")])],
        &["0.toml:3:16: `renamed_from`: `shop` is its name, and not one that it had before"],
    );
    // Two that change places cannot be told apart from two that never moved.
    check_refused(
        &[story("shop", API, &[("a", "renamed_from = \"b\""), ("b", "renamed_from = \"a\"")])],
        &[
            "0.toml:6:16: `renamed_from`: `shop/b` is in these specs, so that nothing goes on in its place; take out \
             one of the two",
            "0.toml:13:16: `renamed_from`: `shop/a` is in these specs, so that nothing goes on in its place; take out \
             one of the two",
        ],
    );
}

#[test]
fn i05_nothing_goes_on_under_two_names() {
    let from = "renamed_from = \"ok\"";
    check_refused(
        &[story("shop", API, &[("up", from), ("fast", from)])],
        &["0.toml:13:16: `renamed_from`: `shop/ok` goes on under another name already, by the key at \
           specs/0.toml:6:16"],
    );
    let renamed = "renamed_from = \"store\"";
    check_refused(
        &[story("a", renamed, &[("up", "")]), story("b", renamed, &[("up", "")])],
        &["1.toml:3:16: `renamed_from`: `store` goes on under another name already, by the key at specs/0.toml:3:16"],
    );
    // By the name of its story, and by its own.
    check_refused(
        &[story("a", renamed, &[("up", "")]), story("b", API, &[("up", "renamed_from = \"store/up\"")])],
        &["1.toml:6:16: `renamed_from`: `store/up` goes on under another name already, by the key at \
           specs/0.toml:3:16"],
    );
}

#[test]
fn a_former_name_is_one_that_could_have_been() {
    let named = |from: &str| [story("shop", API, &[("up", &format!("renamed_from = \"{from}\""))])];
    for from in ["", "a b", "/up", "shop/", "a/b/c", ".."] {
        let expected = format!(
            "0.toml:6:16: `{from}` is no name that an SLO could have had; write \"slo\", or \"story/slo\" if it was in \
             another story"
        );
        check_refused(&named(from), &[&expected]);
    }
    check_refused(
        &[story("shop", "renamed_from = \"a/b\"", &[("up", "")])],
        &["0.toml:3:16: `a/b` cannot be the name of a story; use 1 to 64 letters, digits, `_`, `.` or `-`"],
    );
}
