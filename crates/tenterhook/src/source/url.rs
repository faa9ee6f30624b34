//! Which part of a verified request's URL is stored, and so forwarded: all of it but a token by which it was verified.

/// What stands in the place of a token.
const MASK: &str = "***";

/// Path and query without the values of the parameter `name`, however its name is encoded.
pub(super) fn without_token(url: &str, name: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let kept: Vec<String> = query
        .split('&')
        .map(|pair| {
            let is_token = form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(key, _)| key == name);
            match pair.split_once('=') {
                Some((written, _)) if is_token => format!("{written}={MASK}"),
                _ => pair.to_owned(),
            }
        })
        .collect();
    format!("{path}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_the_parameter_goes_and_nothing_else() {
        for (arrived, kept) in [
            ("/in?code=canary", "/in?code=***"),
            ("/in?a=1&code=canary&b=%20&code=canary", "/in?a=1&code=***&b=%20&code=***"),
            ("/in?%63ode=canary", "/in?%63ode=***"),
            ("/in?code=can=ary", "/in?code=***"),
            ("/in?code=x?code=canary", "/in?code=***"),
            ("/in?encode=1&codes=2&code", "/in?encode=1&codes=2&code"),
            ("/in?&&code=canary&", "/in?&&code=***&"),
            ("/code=1", "/code=1"),
            ("/in?", "/in?"),
        ] {
            assert_eq!(without_token(arrived, "code"), kept, "{arrived}");
        }
    }
}
