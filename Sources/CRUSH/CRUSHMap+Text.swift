extension CRUSHMap {
    /// The map in the language that `crushtool -d` writes and `crushtool -c` reads.
    ///
    /// The same text as of `crushtool -d`, with one exception: weights that do not survive three decimals get as many as they
    /// need, so that compiling the text gives the same weights.
    public var text: String {
        var text = "# begin crush map\n"
        writeTunables(into: &text)
        text += "\n# devices\n"
        for device in devices { text += "device \(device.id.rawValue) \(device.name)\n" }
        text += "\n# types\n"
        for (id, name) in types.sorted(by: { $0.key < $1.key }) { text += "type \(id) \(name)\n" }
        text += "\n# buckets\n"
        var names: [ItemID: String] = [:]
        for device in devices { names[ItemID(device.id)] = device.name }
        for bucket in buckets { names[bucket.id] = bucket.name }
        var written: Set<ItemID> = []
        for bucket in buckets { write(bucket, names: names, written: &written, into: &text) }
        text += "\n# rules\n"
        for rule in rules { write(rule, names: names, into: &text) }
        text += "\n# end crush map\n"
        return text
    }

    /// A tunable is written when it differs from the value that a map without it means, that of 2012.
    private func writeTunables(into text: inout String) {
        let values: [(name: String, value: UInt32, absent: UInt32)] = [
            ("choose_local_tries", tunables.chooseLocalTries, 2),
            ("choose_local_fallback_tries", tunables.chooseLocalFallbackTries, 5),
            ("choose_total_tries", tunables.chooseTotalTries, 19),
            ("chooseleaf_descend_once", tunables.chooseleafDescendOnce ? 1 : 0, 0),
            ("chooseleaf_vary_r", UInt32(tunables.chooseleafVaryR), 0),
            ("chooseleaf_stable", tunables.chooseleafStable ? 1 : 0, 0),
            ("straw_calc_version", UInt32(tunables.strawCalculationVersion), 0),
            // Uniform, list and straw.
            ("allowed_bucket_algs", tunables.allowedBucketKinds, 22),
        ]
        for (name, value, absent) in values where value != absent { text += "tunable \(name) \(value)\n" }
    }

    /// Writes a bucket behind all those it holds, since the language knows no forward reference. Recursion is bounded by
    /// `CRUSHLimits.depth`.
    private func write(
        _ bucket: Bucket, names: [ItemID: String], written: inout Set<ItemID>, into text: inout String
    ) {
        guard written.insert(bucket.id).inserted else { return }
        for item in bucket.items where item.id.isBucket {
            guard let child = self.bucket(item.id) else { preconditionFailure("bucket \(item.id) is missing") }
            write(child, names: names, written: &written, into: &text)
        }
        text += "\(name(of: bucket.type)) \(bucket.name) {\n"
        text += "\tid \(bucket.id)\t\t# do not change unnecessarily\n"
        text += "\t# weight \(bucket.weight)\n"
        text += "\talg \(bucket.kind)\n"
        text += "\thash 0\t# rjenkins1\n"
        for item in bucket.items {
            text += "\titem \(names[item.id] ?? "") weight \(FixedPoint.compilableText(item.weight.rawValue))\n"
        }
        text += "}\n"
    }

    private func write(_ rule: Rule, names: [ItemID: String], into text: inout String) {
        text += "rule \(rule.name) {\n"
        text += "\tid \(rule.id)\n"
        text += "\ttype \(rule.kind)\n"
        text += "\tmin_size \(rule.minSize)\n"
        text += "\tmax_size \(rule.maxSize)\n"
        for step in rule.steps {
            switch step {
            case .take(let item): text += "\tstep take \(names[item] ?? "")\n"
            case .chooseFirstN(let count, let type): text += "\tstep choose firstn \(count) type \(name(of: type))\n"
            case .chooseLeafFirstN(let count, let type):
                text += "\tstep chooseleaf firstn \(count) type \(name(of: type))\n"
            case .emit: text += "\tstep emit\n"
            }
        }
        text += "}\n"
    }

    private func name(of type: TypeID) -> String {
        guard let name = types[type] else { preconditionFailure("type \(type) is missing") }
        return name
    }
}

extension Bucket.Kind: CustomStringConvertible {
    /// The word of the language of `crushtool`.
    public var description: String {
        switch self {
        case .straw2: "straw2"
        }
    }
}

extension Rule.Kind: CustomStringConvertible {
    /// The word of the language of `crushtool`.
    public var description: String {
        switch self {
        case .replicated: "replicated"
        case .erasure: "erasure"
        }
    }
}
