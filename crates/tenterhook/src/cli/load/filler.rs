//! What makes a sample event as long as asked: records like those of real webhooks, whose keys repeat and whose values
//! do not, so that bodies compress as real ones do. The same seed gives the same text.

use std::fmt::Write;

const WORDS: [&str; 24] = [
    "annual", "basic", "blue", "charge", "courier", "customer", "delivery", "express", "gift", "green",
    "invoice", "large", "leather", "monthly", "note", "order", "premium", "refund", "return", "small",
    "standard", "trial", "weekly", "wooden",
];

/// Records, separated by commas, of `bytes` at most; perhaps none.
pub(super) fn records(random: &mut fastrand::Rng, bytes: usize) -> String {
    let mut text = String::new();
    loop {
        let before = text.len();
        if before > 0 {
            text.push(',');
        }
        record(random, &mut text);
        if text.len() > bytes {
            text.truncate(before);
            return text;
        }
    }
}

/// Words of exactly `bytes` in all.
pub(super) fn words(random: &mut fastrand::Rng, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(word(random));
        text.push('-');
    }
    text.truncate(bytes);
    text
}

fn record(random: &mut fastrand::Rng, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{{\"id\":\"li_{:016x}\",\"object\":\"line_item\",\"name\":\"{} {}\",\"amount\":{},\"currency\":\"eur\",\
         \"quantity\":{},\"created\":{},\"buyer\":{{\"email\":\"{}.{}{}@example.com\",\"verified\":{}}},\
         \"taxes\":[{{\"rate\":\"{}\",\"amount\":{}}}],\"metadata\":{{\"order\":\"{:08x}\",\"note\":\"{} {} {}\"}}}}",
        random.u64(..),
        word(random),
        word(random),
        random.u32(100..100_000),
        random.u32(1..9),
        random.u32(1_700_000_000..1_800_000_000),
        word(random),
        word(random),
        random.u32(1..1000),
        random.bool(),
        word(random),
        random.u32(1..10_000),
        random.u32(..),
        word(random),
        word(random),
        word(random),
    );
}

fn word(random: &mut fastrand::Rng) -> &'static str {
    WORDS[random.usize(..WORDS.len())]
}
