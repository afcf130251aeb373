//! Suggestions for names that do not exist.

/// The candidate that is most similar to `name`, if any is similar enough. For a short name, at least one character
/// must match.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, candidates: impl IntoIterator<Item = S>) -> Option<S> {
    let name = name.to_lowercase();
    let rated = candidates.into_iter().map(|it| (strsim::damerau_levenshtein(&name, &it.as_ref().to_lowercase()), it));
    let is_similar = |distance: usize, length: usize| distance <= (length / 3).max(1) && distance < length;
    let similar = rated.filter(|(distance, it)| is_similar(*distance, it.as_ref().chars().count()));
    similar.min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}

/// The same as a question.
pub(crate) fn did_you_mean<S: AsRef<str>>(name: &str, candidates: impl IntoIterator<Item = S>) -> Option<String> {
    nearest(name, candidates).map(|it| format!("did you mean `{}`?", it.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_found_and_a_strange_one_is_not() {
        let names = ["steps", "step_2", "on"];
        assert_eq!((nearest("Setps", names), nearest("Step-2", names)), (Some("steps"), Some("step_2")));
        assert_eq!((nearest("no", names), nearest("xy", names), nearest("priority", names)), (Some("on"), None, None));
        assert_eq!(did_you_mean("stops", names).as_deref(), Some("did you mean `steps`?"));
    }
}
