use super::*;
use crate::selector::Selector;

fn reader(selectors: &[&str]) -> Reader {
    let selectors = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
    Reader::new(Arc::new(Selectors::new(selectors)), Limits::default(), MemoryLimits::default())
}

#[test]
fn a_page_that_differs_in_its_values_alone_is_followed() {
    let mut reader = reader(&["a", "h_bucket"]);
    let mut target = Target::default();
    for round in 0..3u64 {
        let page = format!(
            "# HELP a b\n# TYPE a counter\na{{x=\"y\"}} {round}\na{{x=\"z\"}} 1{round}.5\n\n\
            # TYPE h histogram\nh_bucket{{le=\"1\"}} {round}5\nh_bucket{{le=\"+Inf\"}} 1234567{round}5\nh_sum 1.5 123\nb 5\n"
        );
        let reading = reader.read(&mut target, page.as_bytes(), (Format::Text, End::Certain)).unwrap();
        assert_eq!(reading.was_followed, round > 0, "{round}");
        assert_eq!(reading.values.len(), 4);
        assert_eq!(reading.samples, 6);
    }
}
