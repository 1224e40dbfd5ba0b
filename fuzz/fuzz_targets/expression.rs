//! Expressions: read or refused; what is read is written so that it is read the same; evaluated, whatever its names
//! stand for, it ends within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_services::workflow::{
    expression::{Budget, Expression, Name, Scope, Template, Value, kind::Kinds},
    scalar::Scalar,
};

/// What stands for every name.
struct Everything<'a>(&'a Scalar);

impl Scope for Everything<'_> {
    fn value(&self, name: &Name) -> Option<Value<'_>> {
        // Something is not there.
        (*name != Name::RunId).then(|| Value::from(self.0))
    }
}

fuzz_target!(|text: &str| {
    let values = [
        Scalar::from(""),
        Scalar::from("9".repeat(200 << 10).as_str()),
        Scalar::from(i64::MAX),
        Scalar::number("-1.5e308").expect("a number"),
        Scalar::from(true),
    ];
    if let Ok(read) = Expression::parse(text) {
        let written = read.to_string();
        if written.len() <= 1024 {
            let again = Expression::parse(&written).unwrap_or_else(|why| panic!("{written}: {why}"));
            assert_eq!(again.tree(), read.tree(), "{written}");
        }
        drop(read.check_condition(&|_| Kinds::SCALAR));
        for value in &values {
            drop(read.is_true(&Everything(value), &mut Budget::default()));
        }
    }
    if let Ok(template) = Template::parse(text) {
        for value in &values {
            if let Ok(rendered) = template.render(&Everything(value), &mut Budget::default()) {
                assert!(rendered.text.len() <= 1 << 20);
            }
        }
    }
});
