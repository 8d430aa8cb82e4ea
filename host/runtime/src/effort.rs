//! What a component will cost to compile, counted while its bytes are validated and before anything is compiled.
//!
//! A compiler's time and memory are not linear in its input: 25 KB of nested loops compile for most of a minute, and 5 KB of
//! components that instantiate one another ten times each are a hundred million instances. Nobody can stop a compilation,
//! so what would take too long is not begun.
//!
//! The weights below are measured microseconds of wasmtime 48 on one core, rounded up; an interpreter with its standard
//! library (CPython, 18 MB) comes to a fifth of [`WORK_MAX`], a plugin in Rust to a thousandth.

use wasmparser::types::Types;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, ElementItems,
    FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Instance, Operator, Parser, Payload, Result,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// Work of one function, and of all: about microseconds.
const FUNCTION_WORK_MAX: u64 = 20_000_000;
const WORK_MAX: u64 = 200_000_000;

/// Each costs 6 KB while compiling, whatever it does.
const FUNCTIONS_MAX: u64 = 100_000;

/// Places of all tables that are filled in when an instance is made. Above a million, each is compiled to code of its own.
const ELEMENTS_MAX: u64 = 200_000;

/// Instances of components and modules, those within instances included.
const INSTANCES_MAX: u64 = 200;

/// The instances of a component that is only known by its type.
const UNKNOWN: u64 = INSTANCES_MAX + 1;

/// Counted over a whole component.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    functions: u64,
    work: u64,
    function_work_max: u64,
    elements: u64,
    instances: u64,
}

impl Effort {
    /// Why this is too much to begin with.
    pub(crate) fn refusal(&self) -> Option<String> {
        let over = |what: &str, found: u64, max: u64| {
            (found > max).then(|| format!("it has {found} {what}, and {max} are allowed"))
        };
        over("functions", self.functions, FUNCTIONS_MAX)
            .or_else(|| over("table elements", self.elements, ELEMENTS_MAX))
            .or_else(|| over("nested instances", self.instances, INSTANCES_MAX))
            .or_else(|| {
                let too_long = self.function_work_max > FUNCTION_WORK_MAX || self.work > WORK_MAX;
                too_long.then(|| "compiling it would take minutes (loops, branches and locals of its functions)".into())
            })
    }
}

/// Validates the bytes and counts. All features: which of them are on is the engine's to say.
pub(crate) fn validate(bytes: &[u8]) -> Result<(Types, Effort)> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let (mut functions, mut types) = (Vec::new(), None);
    let (mut effort, mut scopes) = (Effort::default(), Scopes::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            // The outermost end comes last.
            ValidPayload::End(found) => types = Some(found),
            _ => {}
        }
        if let Payload::ElementSection(section) = &payload {
            for element in section.clone() {
                effort.elements += match element?.items {
                    ElementItems::Functions(items) => u64::from(items.count()),
                    ElementItems::Expressions(_, items) => u64::from(items.count()),
                };
            }
        }
        scopes.see(&payload)?;
    }
    effort.instances = scopes.total;
    effort.functions = functions.len() as u64;
    let mut allocations = FuncValidatorAllocations::default();
    for (function, body) in functions {
        allocations = effort.add(function, &body, allocations)?;
    }
    Ok((types.expect("a whole binary has an end"), effort))
}

impl Effort {
    fn add(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations> {
        let mut validator = function.into_validator(allocations);
        let work = Shape::of(&mut validator, body)?.work(body.range().len() as u64);
        self.work = self.work.saturating_add(work);
        self.function_work_max = self.function_work_max.max(work);
        Ok(validator.into_allocations())
    }
}

/// What the compiler's loops run over.
#[derive(Default)]
struct Shape {
    /// Values that may be alive at once: parameters, locals, operands.
    width: u64,
    /// Blocks and branches, each target of a table of branches for itself.
    edges: u64,
    loops: u64,
    /// The squares of the depths of all loops.
    depths: u64,
}

impl Shape {
    fn of(validator: &mut FuncValidator<ValidatorResources>, body: &FunctionBody<'_>) -> Result<Shape> {
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let (mut shape, mut height, mut depth) = (Shape::default(), 0, 0_u64);
        // Whether each block that is open is a loop.
        let mut open = Vec::new();
        while !reader.eof() {
            let place = reader.original_position();
            let operator = reader.peek_operator(&validator.visitor(place))?;
            reader.visit_operator(&mut validator.visitor(place))??;
            height = height.max(validator.operand_stack_height());
            match operator {
                Operator::Loop { .. } => {
                    depth += 1;
                    shape.loops += 1;
                    shape.depths = shape.depths.saturating_add(depth * depth);
                    shape.edges += 1;
                    open.push(true);
                }
                Operator::Block { .. } | Operator::If { .. } => {
                    shape.edges += 1;
                    open.push(false);
                }
                // The last `end` is the function's.
                Operator::End => depth -= u64::from(open.pop() == Some(true)),
                Operator::BrTable { targets } => shape.edges += u64::from(targets.len()) + 1,
                ref other if branches(other) => shape.edges += 1,
                _ => {}
            }
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        shape.width = u64::from(validator.len_locals()) + u64::from(height);
        Ok(shape)
    }

    fn work(&self, bytes: u64) -> u64 {
        let squared = |n: u64| n.saturating_mul(n);
        [
            100,
            bytes / 2,
            squared(self.edges) / 40,
            self.width.saturating_mul(self.edges).saturating_mul(4),
            squared(self.loops) / 6,
            self.depths / 200,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

fn branches(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
    )
}

/// How many instances each component of the open scopes stands for.
#[derive(Default)]
struct Scopes {
    open: Vec<Scope>,
    in_module: bool,
    /// Of the outermost component, once it has ended.
    total: u64,
}

#[derive(Default)]
struct Scope {
    instances: u64,
    /// Its index space of components.
    components: Vec<u64>,
}

impl Scopes {
    /// Follows the definitions, in which nothing refers to what comes later.
    fn see(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::Version { .. } if self.open.is_empty() => self.open.push(Scope::default()),
            Payload::ModuleSection { .. } => self.in_module = true,
            Payload::ComponentSection { .. } => self.open.push(Scope::default()),
            Payload::End(_) if self.in_module => self.in_module = false,
            Payload::End(_) => {
                self.total = self.open.pop().map_or(0, |scope| scope.instances);
                if let Some(parent) = self.open.last_mut() {
                    parent.components.push(self.total);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if let ComponentTypeRef::Component(_) = import?.ty {
                        self.define(UNKNOWN);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        self.define(self.instances_of(0, export.index));
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(alias?);
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { .. } = instance? {
                        self.count(1);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        self.count(self.instances_of(0, component_index).saturating_add(1));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) {
        match alias {
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                self.define(self.instances_of(count, index));
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => self.define(UNKNOWN),
            _ => {}
        }
    }

    fn instances_of(&self, scopes_out: u32, index: u32) -> u64 {
        let scope = self.open.iter().rev().nth(scopes_out as usize);
        scope.and_then(|scope| scope.components.get(index as usize)).copied().unwrap_or(UNKNOWN)
    }

    fn define(&mut self, instances: u64) {
        self.innermost().components.push(instances);
    }

    fn count(&mut self, instances: u64) {
        let scope = self.innermost();
        scope.instances = scope.instances.saturating_add(instances);
    }

    fn innermost(&mut self) -> &mut Scope {
        self.open.last_mut().expect("sections stand within a component")
    }
}
