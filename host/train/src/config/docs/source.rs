//! Reads what rustfmt leaves of a type: its fields or variants, one a line, with the doc comments before them. Enough of
//! Rust for the types of a config, and no more; the tests beside notice a type for which it is not.

/// A struct or an enum.
pub(super) struct Item {
    name: String,
    /// What stands in its attributes.
    attributes: String,
    /// Fields or variants.
    pub(super) members: Vec<Member>,
    is_enum: bool,
}

/// A field, or a variant with what it holds.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) doc: String,
    pub(super) is_skipped: bool,
}

/// What a type looks like in TOML.
#[derive(Default)]
pub(super) struct Shape<'a> {
    pub(super) words: String,
    pub(super) table: Option<&'a Item>,
    pub(super) is_list: bool,
    pub(super) is_optional: bool,
    pub(super) choices: Vec<(String, String)>,
}

/// All types of the sources.
pub(super) struct Items(Vec<Item>);

impl Items {
    pub(super) fn of<'a>(sources: impl Iterator<Item = &'a &'static str>) -> Self {
        Self(sources.flat_map(|source| items(source)).collect())
    }

    pub(super) fn named(&self, name: &str) -> Option<&Item> {
        self.0.iter().find(|item| item.name == name)
    }

    /// How a Rust type is written in TOML.
    pub(super) fn shape(&self, kind: &str) -> Shape<'_> {
        if let Some(inner) = generic(kind, "Option") {
            return Shape { is_optional: true, ..self.shape(inner) };
        }
        if let Some(inner) = generic(kind, "Vec").or(generic(kind, "BTreeSet")) {
            let inner = self.shape(inner);
            let words =
                if inner.table.is_some() { "list of tables".into() } else { format!("list of {}", inner.words) };
            return Shape { words, is_list: true, ..inner };
        }
        if let Some(parts) = kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')) {
            let parts: Vec<String> = parts.split(", ").map(|part| self.shape(part).words).collect();
            return Shape { words: format!("[{}]", parts.join(", ")), ..Shape::default() };
        }
        let words = match kind {
            "usize" | "u64" | "u32" | "i32" => "integer",
            "f64" => "number",
            "bool" => "true or false",
            "String" => "text",
            "PathBuf" => "path",
            "toml::Table" => "table of the plugin's own",
            name => {
                return self
                    .named(name)
                    .map_or(Shape { words: name.into(), ..Shape::default() }, |item| self.of_item(item));
            }
        };
        Shape { words: words.into(), ..Shape::default() }
    }

    fn of_item<'a>(&'a self, item: &'a Item) -> Shape<'a> {
        match (item.is_enum, item.members.as_slice()) {
            (false, [only]) if only.name.is_empty() => self.shape(&only.kind),
            (false, _) => Shape { words: "table".into(), table: Some(item), ..Shape::default() },
            (true, variants) if item.attributes.contains("untagged") => {
                let words: Vec<String> = variants.iter().map(|variant| self.shape(&variant.kind).words).collect();
                Shape { words: words.join(", or "), ..Shape::default() }
            }
            (true, variants) => {
                let separator = if item.attributes.contains("kebab-case") { '-' } else { '_' };
                let choice = |variant: &Member| {
                    let name = cased(&variant.name, separator);
                    let written = match variant.kind.as_str() {
                        "" => name,
                        kind => format!("{{ {name} = {} }}", self.shape(kind).words),
                    };
                    (written, variant.doc.clone())
                };
                Shape { words: "one of".into(), choices: variants.iter().map(choice).collect(), ..Shape::default() }
            }
        }
    }
}

/// `T` of `Outer<T>`.
fn generic<'a>(kind: &'a str, outer: &str) -> Option<&'a str> {
    kind.strip_prefix(outer)?.strip_prefix('<')?.strip_suffix('>')
}

/// `DrGrpo` as `dr_grpo` or `dr-grpo`, like serde.
fn cased(name: &str, separator: char) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(separator);
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn items(source: &str) -> Vec<Item> {
    let mut items: Vec<Item> = vec![];
    let (mut doc, mut attributes, mut is_open) = (String::new(), String::new(), false);
    for line in source.lines().take_while(|line| *line != "#[cfg(test)]") {
        let text = line.trim();
        if let Some(said) = text.strip_prefix("///") {
            doc = format!("{doc} {}", said.trim()).trim().to_owned();
            continue;
        }
        if text.starts_with("#[") {
            attributes.push_str(text);
            continue;
        }
        if line == "}" {
            is_open = false;
        } else if let (true, Some(item)) = (is_open, items.last_mut()) {
            item.members.extend(member(text, item.is_enum).map(|(name, kind)| {
                let is_skipped = attributes.contains("serde(skip)");
                Member { name: name.into(), kind: kind.into(), doc: std::mem::take(&mut doc), is_skipped }
            }));
        } else if let Some((is_enum, rest)) = opening(line) {
            let name = rest.split(['(', ' ']).next().unwrap_or_default().to_owned();
            is_open = line.ends_with('{');
            let inner = rest.split_once('(').and_then(|(_, inner)| inner.strip_suffix(");"));
            let only =
                |kind: &str| Member { name: String::new(), kind: kind.into(), doc: String::new(), is_skipped: false };
            let members = inner.map(only).into_iter().collect();
            items.push(Item { name, attributes: std::mem::take(&mut attributes), members, is_enum });
        }
        doc.clear();
        attributes.clear();
    }
    items
}

fn opening(line: &str) -> Option<(bool, &str)> {
    let of = |word, is_enum| line.strip_prefix(word).map(|rest| (is_enum, rest));
    of("pub struct ", false).or(of("pub enum ", true))
}

/// A field's name and type, or a variant's name and what it holds.
fn member(text: &str, is_enum: bool) -> Option<(&str, &str)> {
    let text = text.strip_suffix(',')?;
    match is_enum {
        true => {
            Some(text.split_once('(').map_or((text, ""), |(name, held)| (name, held.strip_suffix(')').unwrap_or(held))))
        }
        false => text.strip_prefix("pub ")?.split_once(": "),
    }
}
