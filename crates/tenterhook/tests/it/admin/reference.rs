//! The reference for people says what the router serves: no more, no less.

use std::collections::BTreeSet;

use tenterhook::admin::{Access, routes};

const REFERENCE: &str = include_str!("../../../../../docs/reference/admin-api.md");

/// Rows of the table of routes: `` | `GET` | `/api/v1/ledger` | viewer | … | ``.
fn rows() -> BTreeSet<(String, String, String)> {
    REFERENCE
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [_, method @ ("GET" | "POST"), path, role, ..] = cells[..] else { return None };
            Some((method.to_owned(), path.to_owned(), role.to_owned()))
        })
        .collect()
}

#[test]
fn every_route_is_in_the_reference_with_its_role_and_nothing_else_is() {
    let served: BTreeSet<_> = routes()
        .into_iter()
        .map(|route| {
            let role = match route.access {
                Access::Anybody => "anybody",
                Access::Viewer => "viewer",
                Access::Operator => "operator",
            };
            (route.method.to_owned(), route.path.to_owned(), role.to_owned())
        })
        .collect();
    assert_eq!(rows(), served);
}

#[test]
fn every_code_of_a_problem_is_in_the_reference() {
    let sources = concat!(
        include_str!("../../../src/admin.rs"),
        include_str!("../../../src/admin/auth.rs"),
        include_str!("../../../src/admin/body.rs"),
        include_str!("../../../src/admin/params.rs"),
        include_str!("../../../src/admin/problem.rs"),
        include_str!("../../../src/admin/api/gateway.rs"),
        include_str!("../../../src/admin/api/orders.rs"),
    );
    for code in [
        "bad_body",
        "bad_order",
        "bad_query",
        "config_refused",
        "forbidden",
        "foreign_origin",
        "host_not_loopback",
        "json_required",
        "method_not_allowed",
        "not_found",
        "not_running",
        "no_registration",
        "too_large",
        "too_many_failures",
        "unauthorized",
    ] {
        assert!(sources.contains(&format!("\"{code}\"")), "nothing answers `{code}`");
        assert!(REFERENCE.contains(&format!("`{code}`")), "`{code}` is not in the reference");
    }
}
