import Wire

extension CRUSHMap {
    /// Reads the language of `crushtool -c`, see `text`. Throws on anything that is not a valid map; the error names line and
    /// column.
    ///
    /// Buckets may come in any order. As in the field, what tunables a text does not name are those of 2012, an item without
    /// a weight weighs what the bucket weighs or 1, and a bucket without a number gets the free one nearest to zero.
    public init(text: String) throws(CRUSHError) {
        var text = text
        let result = text.withUTF8 { utf8 in Self.parse(UnsafeRawBufferPointer(utf8)) }
        self = try result.get()
    }

    /// Reads a file: the compiled form or text, which are told apart by the first bytes.
    public init(file bytes: Bytes) throws(CRUSHError) {
        if Self.isCompiled(bytes) {
            try self.init(compiled: bytes)
        } else {
            self = try bytes.withUnsafeBytes { Self.parse($0) }.get()
        }
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer) -> Result<CRUSHMap, CRUSHError> {
        do throws(CRUSHError) {
            guard bytes.count <= CRUSHLimits.fileBytes else {
                throw CRUSHError("\(bytes.count) bytes: a map has at most \(CRUSHLimits.fileBytes)")
            }
            var parser = try TextParser(bytes)
            return .success(try parser.map())
        } catch {
            return .failure(error)
        }
    }
}

/// Reads a text map: first all statements as they stand, then the names in them are resolved.
private struct TextParser {
    private typealias Word = TextLexer.Word
    private typealias Place = TextLexer.Place

    private struct RawItem {
        var name: Word
        var weight: UInt32?
        var position: (value: Int, place: Place)?
    }

    private struct RawBucket {
        var type: Word
        var name: Word
        var id: ItemID?
        var shadows: [String: ItemID] = [:]
        var kind: Bucket.Kind?
        var items: [RawItem] = []
    }

    private struct RawStep {
        var step: Rule.Step?
        /// Of a take step, what is taken.
        var item: Word?
        var deviceClass: Word?
        var type: Word?
        var place: Place
    }

    private struct RawRule {
        var rule: Rule
        var steps: [RawStep] = []
    }

    private var lexer: TextLexer
    private var parts = CRUSHMap.Parts(tunables: .legacy, types: [:], devices: [], buckets: [], rules: [])
    private var rawBuckets: [RawBucket] = []
    private var rawRules: [RawRule] = []
    private var places: [CRUSHMap.Part: Place] = [:]
    private var typeNumbers: [String: TypeID] = [:]
    private var classNames: Set<String> = []
    private var itemNumbers: [String: ItemID] = [:]
    private var itemCount = 0

    init(_ bytes: UnsafeRawBufferPointer) throws(CRUSHError) { lexer = try TextLexer(bytes) }

    mutating func map() throws(CRUSHError) -> CRUSHMap {
        guard !lexer.next.text.isEmpty else { throw expected("a map", lexer.next) }
        while !lexer.next.text.isEmpty { try statement() }
        do {
            try resolveBuckets()
            let shadowed = try makeShadows()
            try resolveRules(shadowed)
            return try CRUSHMap(parts)
        } catch {
            guard let place = error.part.flatMap({ places[$0] }) else { throw error }
            throw CRUSHError(at: place, error.description)
        }
    }

    private mutating func statement() throws(CRUSHError) {
        switch lexer.next.text {
        case "tunable": try tunable()
        case "device": try device()
        case "type": try type()
        case "rule": try rule()
        case "choose_args": try arguments()
        default: try bucket()
        }
    }

    // MARK: Words

    private mutating func expect(_ text: String) throws(CRUSHError) {
        let word = try lexer.take()
        guard word.text == text else { throw expected("'\(text)'", word) }
    }

    /// Takes the next word if it is this.
    private mutating func skip(_ text: String) throws(CRUSHError) -> Bool {
        guard lexer.next.text == text else { return false }
        _ = try lexer.take()
        return true
    }

    private func expected(_ what: String, _ word: Word) -> CRUSHError {
        CRUSHError(at: word.place, "\(what) expected, not \(word.text.isEmpty ? "the end" : "'\(word.text)'")")
    }

    private mutating func name(_ what: String) throws(CRUSHError) -> Word {
        let word = try lexer.take()
        guard !word.text.isEmpty, word.text.utf8.allSatisfy(Validation.isNameByte) else { throw expected(what, word) }
        return word
    }

    /// A whole number in a range, and where it stands.
    private mutating func number(
        _ what: String, in range: ClosedRange<Int>
    ) throws(CRUSHError) -> (value: Int, place: Place) {
        let word = try lexer.take()
        let digits = word.text.utf8.drop { $0 == UInt8(ascii: "-") }
        guard word.text.utf8.count - digits.count <= 1, !digits.isEmpty,
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { throw expected(what, word) }
        guard let value = Int(word.text), range.contains(value) else {
            throw CRUSHError(
                at: word.place, "\(what) \(word.text): out of range, \(range.lowerBound) to \(range.upperBound)")
        }
        return (value, word.place)
    }

    /// A weight as the field's tools read it: into a 32-bit float, and what is left of 16 binary places is cut off.
    private mutating func weight() throws(CRUSHError) -> UInt32 {
        let word = try lexer.take()
        guard word.text.utf8.allSatisfy({ "0123456789.eE+-".utf8.contains($0) }), Float(word.text) != nil else {
            throw expected("a weight", word)
        }
        guard let weight = CRUSHWeight(text: word.text), weight <= CRUSHLimits.bucketWeight else {
            throw CRUSHError(
                at: word.place, "weight \(word.text): out of range, 0 to \(CRUSHLimits.bucketWeight)")
        }
        return weight.rawValue
    }

    // MARK: Statements

    private mutating func tunable() throws(CRUSHError) {
        try expect("tunable")
        let name = try name("the name of a tunable")
        let (value, place) = try number("tunable \(name.text)", in: 0...Int(Int32.max))
        places[.tunable(name.text)] = place
        do throws(CRUSHError) { try parts.tunables.set(name.text, to: UInt32(value)) } catch {
            throw CRUSHError(at: error.part == nil ? name.place : place, error.description)
        }
    }

    private mutating func device() throws(CRUSHError) {
        try expect("device")
        let (value, place) = try number("a device number", in: 0...CRUSHLimits.devices - 1)
        let name = try name("the name of device \(value)")
        var device = Device(id: OSDID(Int32(value)), name: name.text)
        if try skip("class") { device.deviceClass = try use(self.name("the class of device \(value)")) }
        guard places.updateValue(place, forKey: .device(Int32(value))) == nil else {
            throw CRUSHError(at: place, "device \(value) stands twice")
        }
        try define(name, ItemID(device.id))
        parts.devices.append(device)
    }

    /// Notes that a class exists; the number follows from where it is first named.
    private mutating func use(_ word: Word) throws(CRUSHError) -> String {
        guard classNames.insert(word.text).inserted else { return word.text }
        guard parts.classes.count < CRUSHLimits.classes else {
            throw CRUSHError(at: word.place, "more than \(CRUSHLimits.classes) device classes")
        }
        parts.classes.append(DeviceClass(id: Int32(parts.classes.count), name: word.text))
        return word.text
    }

    private mutating func define(_ name: Word, _ id: ItemID) throws(CRUSHError) {
        guard itemNumbers.updateValue(id, forKey: name.text) == nil else {
            throw CRUSHError(at: name.place, "the name '\(name.text)' stands twice")
        }
    }

    private mutating func type() throws(CRUSHError) {
        try expect("type")
        let (value, place) = try number("a type number", in: 0...CRUSHLimits.types - 1)
        let name = try name("the name of type \(value)")
        let id = TypeID(UInt16(value))
        guard parts.types.updateValue(name.text, forKey: id) == nil else {
            throw CRUSHError(at: place, "type \(value) stands twice")
        }
        guard typeNumbers.updateValue(id, forKey: name.text) == nil else {
            throw CRUSHError(at: name.place, "type '\(name.text)' stands twice")
        }
        places[.type(id)] = place
    }

    private mutating func bucket() throws(CRUSHError) {
        let type = try name("a statement")
        var bucket = RawBucket(type: type, name: try name("the name of a bucket"))
        try expect("{")
        while try !skip("}") {
            let word = try lexer.take()
            switch word.text {
            case "id": try id(of: &bucket)
            case "alg":
                let kind = try name("a kind of bucket")
                bucket.kind = Bucket.Kind.allCases.first { $0.description == kind.text }
                guard bucket.kind != nil else { throw CRUSHError(at: kind.place, "unknown kind '\(kind.text)'") }
            case "hash":
                let hash = try name("a hash")
                guard ["0", "rjenkins1"].contains(hash.text) else {
                    throw CRUSHError(at: hash.place, "hash \(hash.text): only 0 (rjenkins1) is known")
                }
            case "item": try item(of: &bucket)
            default: throw expected("id, alg, hash, item or '}'", word)
            }
        }
        guard bucket.kind != nil else { throw CRUSHError(at: type.place, "bucket '\(bucket.name.text)' has no alg") }
        rawBuckets.append(bucket)
    }

    private mutating func id(of bucket: inout RawBucket) throws(CRUSHError) {
        let (value, place) = try number("a bucket number", in: -CRUSHLimits.buckets...(-1))
        if try skip("class") {
            let name = try use(self.name("a device class"))
            guard bucket.shadows.updateValue(ItemID(Int32(value)), forKey: name) == nil else {
                throw CRUSHError(at: place, "class '\(name)' stands twice")
            }
        } else {
            guard bucket.id == nil else { throw CRUSHError(at: place, "the number stands twice") }
            bucket.id = ItemID(Int32(value))
        }
    }

    private mutating func item(of bucket: inout RawBucket) throws(CRUSHError) {
        var item = RawItem(name: try name("the name of an item"))
        itemCount += 1
        guard itemCount <= CRUSHLimits.items else {
            throw CRUSHError(at: item.name.place, "more than \(CRUSHLimits.items) items")
        }
        if try skip("weight") { item.weight = try weight() }
        if try skip("pos") { item.position = try number("a position", in: 0...CRUSHLimits.items) }
        bucket.items.append(item)
    }

    private mutating func rule() throws(CRUSHError) {
        try expect("rule")
        let name = try name("the name of a rule")
        try expect("{")
        if try !skip("ruleset") { try expect("id") }
        let (value, place) = try number("a rule number", in: 0...CRUSHLimits.rules - 1)
        let id = RuleID(Int32(value))
        guard places.updateValue(place, forKey: .rule(id)) == nil else {
            throw CRUSHError(at: place, "rule \(value) stands twice")
        }
        try expect("type")
        let word = try lexer.take()
        guard let kind = [Rule.Kind.replicated, .erasure].first(where: { $0.description == word.text }) else {
            throw expected("replicated or erasure", word)
        }
        try expect("min_size")
        let minSize = UInt8(try number("min_size", in: 0...255).value)
        try expect("max_size")
        let maxSize = UInt8(try number("max_size", in: 0...255).value)
        var rule = RawRule(
            rule: Rule(id: id, name: name.text, kind: kind, minSize: minSize, maxSize: maxSize, steps: []))
        repeat {
            guard rule.steps.count < CRUSHLimits.steps else {
                throw CRUSHError(at: lexer.next.place, "more than \(CRUSHLimits.steps) steps")
            }
            rule.steps.append(try step())
        } while try !skip("}")
        rawRules.append(rule)
    }

    private mutating func step() throws(CRUSHError) -> RawStep {
        try expect("step")
        let word = try lexer.take()
        var raw = RawStep(place: word.place)
        func value() throws(CRUSHError) -> UInt32 {
            UInt32(try number(word.text, in: 0...Int(Int32.max)).value)
        }
        switch word.text {
        case "take":
            raw.item = try name("an item")
            if try skip("class") { raw.deviceClass = try name("a device class") }
        case "choose", "chooseleaf":
            let mode = try lexer.take()
            let count = Int32(try number("a count", in: -CRUSHLimits.replicas...CRUSHLimits.replicas).value)
            try expect("type")
            raw.type = try name("a type")
            switch (word.text, mode.text) {
            case ("choose", "firstn"): raw.step = .chooseFirstN(count: count, type: .osd)
            case ("choose", "indep"): raw.step = .chooseIndep(count: count, type: .osd)
            case ("chooseleaf", "firstn"): raw.step = .chooseLeafFirstN(count: count, type: .osd)
            case ("chooseleaf", "indep"): raw.step = .chooseLeafIndep(count: count, type: .osd)
            default: throw expected("firstn or indep", mode)
            }
        case "set_choose_tries": raw.step = .setChooseTries(try value())
        case "set_chooseleaf_tries": raw.step = .setChooseLeafTries(try value())
        case "set_choose_local_tries": raw.step = .setChooseLocalTries(try value())
        case "set_choose_local_fallback_tries": raw.step = .setChooseLocalFallbackTries(try value())
        case "set_chooseleaf_vary_r": raw.step = .setChooseLeafVaryR(try value())
        case "set_chooseleaf_stable": raw.step = .setChooseLeafStable(try value())
        case "emit": raw.step = .emit
        default: throw expected("a step", word)
        }
        return raw
    }

    // MARK: Choose arguments

    private mutating func arguments() throws(CRUSHError) {
        try expect("choose_args")
        let word = try lexer.take()
        // The set for all pools is -1, and other tools write it without a sign.
        guard let unsigned = UInt64(word.text), unsigned == .max || unsigned <= UInt64(Int32.max) else {
            throw expected("the number of a pool", word)
        }
        let set = Int64(bitPattern: unsigned)
        guard parts.chooseArguments[set] == nil else {
            throw CRUSHError(at: word.place, "choose_args \(word.text) stands twice")
        }
        places[.argumentSet(set)] = word.place
        var arguments = ChooseArguments()
        try expect("{")
        while try !skip("}") {
            try expect("{")
            try expect("bucket_id")
            let (value, place) = try number("a bucket number", in: -CRUSHLimits.buckets...(-1))
            let id = ItemID(Int32(value))
            places[.replacement(set, id)] = place
            var replacement = ChooseArguments.Replacement()
            if try skip("weight_set") { replacement.weightSets = try weightSets() }
            if try skip("ids") {
                try expect("[")
                while try !skip("]") {
                    let (value, place) = try number("an id", in: Int(Int32.min)...Int(Int32.max))
                    replacement.ids.append(ItemID(Int32(value)))
                    guard replacement.ids.count <= CRUSHLimits.items else {
                        throw CRUSHError(at: place, "too many ids")
                    }
                }
            }
            try expect("}")
            guard arguments.replacements.updateValue(replacement, forKey: id) == nil else {
                throw CRUSHError(at: place, "bucket \(value) stands twice")
            }
        }
        parts.chooseArguments[set] = arguments
    }

    private mutating func weightSets() throws(CRUSHError) -> [[CRUSHWeight]] {
        var sets: [[CRUSHWeight]] = []
        try expect("[")
        while try !skip("]") {
            guard sets.count < CRUSHLimits.replicas else {
                throw CRUSHError(at: lexer.next.place, "more than \(CRUSHLimits.replicas) weight sets")
            }
            try expect("[")
            var weights: [CRUSHWeight] = []
            while try !skip("]") {
                let place = lexer.next.place
                weights.append(CRUSHWeight(try weight()))
                guard weights.count <= CRUSHLimits.items else { throw CRUSHError(at: place, "too many weights") }
            }
            sets.append(weights)
        }
        return sets
    }

    // MARK: Resolving names

    private mutating func resolveBuckets() throws(CRUSHError) {
        if parts.types[.osd] == nil { parts.types[.osd] = "osd" }
        var used = Set(rawBuckets.compactMap(\.id))
        for bucket in rawBuckets { used.formUnion(bucket.shadows.values) }
        var next = ItemID(-1)
        for index in rawBuckets.indices {
            var id = rawBuckets[index].id
            while id == nil {
                if used.insert(next).inserted { id = next }
                next = ItemID(next.rawValue - 1)
            }
            rawBuckets[index].id = id
            guard let id else { preconditionFailure("bucket \(index) without a number") }
            let name = rawBuckets[index].name
            try define(name, id)
            guard places.updateValue(name.place, forKey: .bucket(id)) == nil else {
                throw CRUSHError(at: name.place, "bucket \(id) '\(name.text)': the number stands twice")
            }
        }
        // Children before parents, for the weights of items that name none.
        var indices: [ItemID: Int] = [:]
        for (index, bucket) in rawBuckets.enumerated() { indices[bucket.id ?? .none] = index }
        var weights: [ItemID: UInt32] = [:]
        for index in rawBuckets.indices { try resolve(index, indices, &weights, depth: 0) }
    }

    private mutating func resolve(
        _ index: Int, _ indices: [ItemID: Int], _ weights: inout [ItemID: UInt32], depth: Int
    ) throws(CRUSHError) {
        let raw = rawBuckets[index]
        guard let id = raw.id, let kind = raw.kind, weights[id] == nil else { return }
        guard depth <= CRUSHLimits.depth else {
            throw CRUSHError(
                at: raw.name.place,
                "bucket '\(raw.name.text)' is in a cycle, or nested more than \(CRUSHLimits.depth) deep")
        }
        guard let type = typeNumbers[raw.type.text] else {
            throw CRUSHError(at: raw.type.place, "there is no type '\(raw.type.text)'")
        }
        let order = try self.order(of: raw)
        var items: [Bucket.Item] = []
        for (position, item) in order.enumerated() {
            guard let number = itemNumbers[item.name.text] else {
                throw CRUSHError(at: item.name.place, "there is no item '\(item.name.text)'")
            }
            if let child = indices[number] { try resolve(child, indices, &weights, depth: depth + 1) }
            let weight = item.weight ?? weights[number] ?? CRUSHWeight.one.rawValue
            items.append(Bucket.Item(id: number, weight: CRUSHWeight(weight)))
            places[.item(id, position)] = item.name.place
        }
        let bucket = Bucket(
            id: id, name: raw.name.text, type: type, kind: kind, items: items, shadows: raw.shadows)
        weights[id] = bucket.weight.rawValue
        parts.buckets.append(bucket)
    }

    /// The items at their positions; those without one take the free ones in order.
    private func order(of raw: RawBucket) throws(CRUSHError) -> [RawItem] {
        var order = [RawItem?](repeating: nil, count: raw.items.count)
        for item in raw.items {
            guard let (position, place) = item.position else { continue }
            guard position < order.count else {
                throw CRUSHError(at: place, "position \(position) in a bucket of \(order.count) items")
            }
            guard order[position] == nil else { throw CRUSHError(at: place, "position \(position) is taken") }
            order[position] = item
        }
        var free = 0
        for item in raw.items where item.position == nil {
            while order[free] != nil { free += 1 }
            order[free] = item
        }
        return order.compactMap { $0 }
    }

    /// Makes the shadow trees, for rules to take. As in the field a text without rules has none.
    private mutating func makeShadows() throws(CRUSHError) -> [String: [String: ItemID]] {
        guard !rawRules.isEmpty else {
            for index in parts.buckets.indices { parts.buckets[index].shadows = [:] }
            parts.shadowBuckets = []
            return [:]
        }
        let devices = parts.devices.sorted { $0.id < $1.id }
        let validation = try Validation(
            tunables: parts.tunables, types: parts.types, devices: devices, classes: parts.classes)
        try validation.check(buckets: parts.buckets.sorted { $0.id > $1.id }, shadows: [])
        let made = try Shadows.make(devices: devices, buckets: parts.buckets, classes: parts.classes)
        parts.buckets = made.buckets
        parts.shadowBuckets = made.shadows
        return Dictionary(uniqueKeysWithValues: made.buckets.map { ($0.name, $0.shadows) })
    }

    private mutating func resolveRules(_ shadows: [String: [String: ItemID]]) throws(CRUSHError) {
        for raw in rawRules {
            var rule = raw.rule
            for (index, step) in raw.steps.enumerated() {
                places[.step(rule.id, index)] = step.place
                rule.steps.append(try resolve(step, shadows))
            }
            parts.rules.append(rule)
        }
    }

    private func resolve(_ raw: RawStep, _ shadows: [String: [String: ItemID]]) throws(CRUSHError) -> Rule.Step {
        if let item = raw.item {
            guard let id = itemNumbers[item.text] else {
                throw CRUSHError(at: item.place, "there is no item '\(item.text)'")
            }
            guard let deviceClass = raw.deviceClass else { return .take(id) }
            guard let shadow = shadows[item.text]?[deviceClass.text] else {
                throw CRUSHError(at: deviceClass.place, "'\(item.text)' has no device class '\(deviceClass.text)'")
            }
            return .take(shadow)
        }
        guard let step = raw.step else { preconditionFailure("a step without content at \(raw.place)") }
        guard let word = raw.type else { return step }
        guard let type = typeNumbers[word.text] ?? (word.text == parts.types[.osd] ? .osd : nil) else {
            throw CRUSHError(at: word.place, "there is no type '\(word.text)'")
        }
        switch step {
        case .chooseFirstN(let count, _): return .chooseFirstN(count: count, type: type)
        case .chooseLeafFirstN(let count, _): return .chooseLeafFirstN(count: count, type: type)
        case .chooseIndep(let count, _): return .chooseIndep(count: count, type: type)
        case .chooseLeafIndep(let count, _): return .chooseLeafIndep(count: count, type: type)
        default: return step
        }
    }
}
