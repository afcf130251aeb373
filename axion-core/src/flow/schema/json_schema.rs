//! The JSON Schema of a flow.

use serde_json::{Map, Value, json};

use super::keys::FLOW;
use super::{Schema, TableSchema};

/// The JSON Schema (draft 2020-12) of flow files, as `docs/reference/flow.schema.json` has it.
#[must_use]
pub fn schema() -> Value {
    let mut tables = Map::new();
    let mut whole = table_schema(&FLOW, &mut tables);
    whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    whole["title"] = json!("Axion flow");
    whole["$defs"] = Value::Object(tables);
    whole
}

/// The schema of a table. Its nested tables are added to the definitions.
fn table_schema(table: &'static TableSchema, tables: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in table.fields {
        let mut schema = value_schema(&field.shape, tables);
        schema["description"] = json!(field.about);
        if field.name == "steps" {
            schema["minItems"] = json!(1);
        }
        properties.insert(field.name.to_owned(), schema);
    }
    if std::ptr::eq(table, &FLOW) {
        // Editors find the schema by this key.
        properties.insert("$schema".to_owned(), json!({"type": "string"}));
    }
    let required: Vec<&str> = table.fields.iter().filter(|it| it.required).map(|it| it.name).collect();
    let mut schema = json!({
        "description": table.about,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !table.one_of.is_empty() {
        schema["oneOf"] = table.one_of.iter().map(|key| json!({"required": [key]})).collect();
    }
    schema
}

fn value_schema(value: &'static Schema, tables: &mut Map<String, Value>) -> Value {
    match value {
        Schema::Text => json!({"type": "string", "minLength": 1}),
        Schema::Path => json!({"type": "string"}),
        Schema::Choice(words) => json!({"enum": words}),
        Schema::Pool => json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"}),
        Schema::Flag => json!({"type": "boolean"}),
        Schema::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Schema::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
        Schema::Time => {
            json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]})
        }
        Schema::Memory => json!({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": SIZE}]}),
        Schema::Size => json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": SIZE}]}),
        Schema::Rate => json!({"type": "string", "pattern": r"^\s*\+?0*[1-9][0-9]*\s*/\s*(s|m|h)\s*$"}),
        Schema::Any => json!({}),
        Schema::Params => json!({"type": "object"}),
        Schema::List(inner) => json!({"type": "array", "items": value_schema(inner, tables)}),
        Schema::Either(one, other) => json!({"anyOf": [value_schema(one, tables), value_schema(other, tables)]}),
        Schema::Table(inner) => {
            if !tables.contains_key(inner.name) {
                // Added before its own definition, because a condition contains conditions.
                tables.insert(inner.name.to_owned(), Value::Null);
                let schema = table_schema(inner, tables);
                tables.insert(inner.name.to_owned(), schema);
            }
            json!({"$ref": format!("#/$defs/{}", inner.name)})
        }
    }
}

const SIZE: &str =
    r"^\s*(?=.*[1-9])\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$";
