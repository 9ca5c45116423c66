import Wire

/// The binary form in which maps travel between daemons and rest on disks. It is Nacre's own; the form of `crushtool` is
/// another.
///
///     section, version 1
///         tunables   u32 local tries, u32 fallback tries, u32 total tries, bool descend once, u8 vary r, bool stable,
///                    u8 straw version, u32 allowed kinds
///         types      count, each: u16 number, name; ascending
///         devices    count, each: section { i32 number, name }; ascending
///         buckets    count, each: section { i32 number, name, u16 type, u8 kind, count of (i32 item, u32 weight) };
///                    from -1 downwards
///         rules      count, each: section { i32 number, name, u8 kind, u8 min size, u8 max size, count of steps };
///                    ascending
///
/// Counts and names have a u32 length. Devices, buckets and rules are sections of their own so that they can grow. A step is
/// a u8 with the number that the field's format gives it and two i32 arguments, those it does not use 0.
extension CRUSHMap {
    /// Decodes a map. Throws on anything that is not a valid map: see `init(tunables:types:devices:buckets:rules:)`.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("CRUSH map", supported: 1) { r, _ throws(WireError) in
            let tunables = try Tunables(from: &r)
            let types = try r.readArray(atMost: CRUSHLimits.types) { r throws(WireError) in
                (TypeID(try r.readU16()), try r.readString(atMost: CRUSHLimits.name))
            }
            let devices = try r.readArray(atMost: CRUSHLimits.devices) { r throws(WireError) in try Device(from: &r) }
            let buckets = try r.readArray(atMost: CRUSHLimits.buckets) { r throws(WireError) in try Bucket(from: &r) }
            let rules = try r.readArray(atMost: CRUSHLimits.rules) { r throws(WireError) in try Rule(from: &r) }
            var names: [TypeID: String] = [:]
            for (id, name) in types where names.updateValue(name, forKey: id) != nil {
                throw WireError("CRUSH map: type \(id) stands twice")
            }
            do throws(CRUSHError) {
                return try CRUSHMap(tunables: tunables, types: names, devices: devices, buckets: buckets, rules: rules)
            } catch {
                throw WireError("CRUSH map: \(error)")
            }
        }
    }

    /// Encodes the map. Equal maps give equal bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            tunables.encode(into: &w)
            w.writeArray(types.sorted { $0.key < $1.key }) { w, type in
                w.writeU16(type.key.rawValue)
                w.writeString(type.value)
            }
            w.writeArray(devices) { $1.encode(into: &$0) }
            w.writeArray(buckets) { $1.encode(into: &$0) }
            w.writeArray(rules) { $1.encode(into: &$0) }
        }
    }
}

extension Tunables {
    init(from r: inout ByteReader) throws(WireError) {
        self.init(
            chooseLocalTries: try r.readU32(), chooseLocalFallbackTries: try r.readU32(),
            chooseTotalTries: try r.readU32(), chooseleafDescendOnce: try r.readBool(), chooseleafVaryR: try r.readU8(),
            chooseleafStable: try r.readBool(), strawCalculationVersion: try r.readU8(),
            allowedBucketKinds: try r.readU32())
    }

    func encode(into w: inout ByteWriter) {
        w.writeU32(chooseLocalTries)
        w.writeU32(chooseLocalFallbackTries)
        w.writeU32(chooseTotalTries)
        w.writeBool(chooseleafDescendOnce)
        w.writeU8(chooseleafVaryR)
        w.writeBool(chooseleafStable)
        w.writeU8(strawCalculationVersion)
        w.writeU32(allowedBucketKinds)
    }
}

extension Device {
    init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("CRUSH device", supported: 1) { r, _ throws(WireError) in
            Device(id: OSDID(try r.readI32()), name: try r.readString(atMost: CRUSHLimits.name))
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeI32(id.rawValue)
            w.writeString(name)
        }
    }
}

extension Bucket {
    init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("CRUSH bucket", supported: 1) { r, _ throws(WireError) in
            let id = ItemID(try r.readI32())
            let name = try r.readString(atMost: CRUSHLimits.name)
            let type = TypeID(try r.readU16())
            let number = try r.readU8()
            guard let kind = Kind(rawValue: number) else {
                throw WireError("CRUSH bucket \(id): unknown kind \(number)")
            }
            let items = try r.readArray(atMost: CRUSHLimits.items) { r throws(WireError) in
                Item(id: ItemID(try r.readI32()), weight: CRUSHWeight(try r.readU32()))
            }
            return Bucket(id: id, name: name, type: type, kind: kind, items: items)
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeI32(id.rawValue)
            w.writeString(name)
            w.writeU16(type.rawValue)
            w.writeU8(kind.rawValue)
            w.writeArray(items) { w, item in
                w.writeI32(item.id.rawValue)
                w.writeU32(item.weight.rawValue)
            }
        }
    }
}

extension Rule {
    init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("CRUSH rule", supported: 1) { r, _ throws(WireError) in
            let id = RuleID(try r.readI32())
            let name = try r.readString(atMost: CRUSHLimits.name)
            let number = try r.readU8()
            guard let kind = Kind(rawValue: number) else {
                throw WireError("CRUSH rule \(id): unknown kind \(number)")
            }
            let minSize = try r.readU8()
            let maxSize = try r.readU8()
            let steps = try r.readArray(atMost: CRUSHLimits.steps) { r throws(WireError) in try Step(from: &r) }
            return Rule(id: id, name: name, kind: kind, minSize: minSize, maxSize: maxSize, steps: steps)
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeI32(id.rawValue)
            w.writeString(name)
            w.writeU8(kind.rawValue)
            w.writeU8(minSize)
            w.writeU8(maxSize)
            w.writeArray(steps) { $1.encode(into: &$0) }
        }
    }
}

extension Rule.Step {
    /// The numbers that the field's format gives to the steps.
    private enum Code: UInt8 {
        case take = 1
        case chooseFirstN = 2
        case emit = 4
        case chooseLeafFirstN = 6
    }

    init(from r: inout ByteReader) throws(WireError) {
        let number = try r.readU8()
        let first = try r.readI32()
        let second = try r.readI32()
        guard let code = Code(rawValue: number) else { throw WireError("CRUSH rule: unknown step \(number)") }
        func type() throws(WireError) -> TypeID {
            guard let type = UInt16(exactly: second) else { throw WireError("CRUSH rule: \(second) is not a type") }
            return TypeID(type)
        }
        switch code {
        case .take: self = .take(ItemID(first))
        case .chooseFirstN: self = .chooseFirstN(count: first, type: try type())
        case .chooseLeafFirstN: self = .chooseLeafFirstN(count: first, type: try type())
        case .emit: self = .emit
        }
    }

    func encode(into w: inout ByteWriter) {
        let (code, first, second): (Code, Int32, Int32) =
            switch self {
            case .take(let item): (.take, item.rawValue, 0)
            case .chooseFirstN(let count, let type): (.chooseFirstN, count, Int32(type.rawValue))
            case .chooseLeafFirstN(let count, let type): (.chooseLeafFirstN, count, Int32(type.rawValue))
            case .emit: (.emit, 0, 0)
            }
        w.writeU8(code.rawValue)
        w.writeI32(first)
        w.writeI32(second)
    }
}
