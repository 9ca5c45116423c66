extension CRUSHMap {
    /// The map in the language that `crushtool -d` writes and `crushtool -c` reads.
    ///
    /// The same text as of `crushtool -d`, with one exception: weights that do not survive three decimals get as many as they
    /// need, so that compiling the text gives the same weights.
    public var text: String {
        var text = "# begin crush map\n"
        writeTunables(into: &text)
        text += "\n# devices\n"
        for device in devices {
            let suffix = device.deviceClass.map { " class \($0)" } ?? ""
            text += "device \(device.id.rawValue) \(device.name)\(suffix)\n"
        }
        text += "\n# types\n"
        for (id, name) in types.sorted(by: { $0.key < $1.key }) { text += "type \(id) \(name)\n" }
        text += "\n# buckets\n"
        var names: [ItemID: String] = [:]
        for device in devices { names[ItemID(device.id)] = device.name }
        for bucket in buckets {
            names[bucket.id] = bucket.name
            for (name, shadow) in bucket.shadows { names[shadow] = "\(bucket.name) class \(name)" }
        }
        var written: Set<ItemID> = []
        for bucket in buckets { write(bucket, names: names, written: &written, into: &text) }
        text += "\n# rules\n"
        for rule in rules { write(rule, names: names, into: &text) }
        writeArguments(into: &text)
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
        for each in classes {
            guard let shadow = bucket.shadows[each.name] else { continue }
            text += "\tid \(shadow) class \(each.name)\t\t# do not change unnecessarily\n"
        }
        text += "\t# weight \(FixedPoint.remark(bucket.weight.rawValue))\n"
        text += "\talg \(bucket.kind)"
        switch bucket.kind {
        case .uniform: text += "\t# do not change bucket size (\(bucket.items.count)) unnecessarily"
        case .list: text += "\t# add new items at the end; do not change order unnecessarily"
        case .tree: text += "\t# do not change pos for existing items unnecessarily"
        case .straw, .straw2: break
        }
        text += "\n\thash 0\t# rjenkins1\n"
        let counted = bucket.kind == .uniform || bucket.kind == .tree
        for (index, item) in bucket.items.enumerated() {
            text += "\titem \(names[item.id] ?? "") weight \(FixedPoint.compilableText(item.weight.rawValue))"
            text += counted ? " pos \(index)\n" : "\n"
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
            text += "\tstep "
            switch step {
            case .take(let item): text += "take \(names[item] ?? "")"
            case .chooseFirstN(let count, let type): text += "choose firstn \(count) type \(name(of: type))"
            case .chooseLeafFirstN(let count, let type): text += "chooseleaf firstn \(count) type \(name(of: type))"
            case .chooseIndep(let count, let type): text += "choose indep \(count) type \(name(of: type))"
            case .chooseLeafIndep(let count, let type): text += "chooseleaf indep \(count) type \(name(of: type))"
            case .setChooseTries(let value): text += "set_choose_tries \(value)"
            case .setChooseLeafTries(let value): text += "set_chooseleaf_tries \(value)"
            case .setChooseLocalTries(let value): text += "set_choose_local_tries \(value)"
            case .setChooseLocalFallbackTries(let value): text += "set_choose_local_fallback_tries \(value)"
            case .setChooseLeafVaryR(let value): text += "set_chooseleaf_vary_r \(value)"
            case .setChooseLeafStable(let value): text += "set_chooseleaf_stable \(value)"
            case .emit: text += "emit"
            }
            text += "\n"
        }
        text += "}\n"
    }

    private func writeArguments(into text: inout String) {
        guard !chooseArguments.isEmpty else { return }
        text += "\n# choose_args\n"
        for (set, arguments) in chooseArguments.sorted(by: { UInt64(bitPattern: $0.key) < UInt64(bitPattern: $1.key) })
        {
            text += "choose_args \(UInt64(bitPattern: set)) {\n"
            for (id, replacement) in arguments.replacements.sorted(by: { $0.key > $1.key }) {
                if replacement.weightSets.isEmpty, replacement.ids.isEmpty { continue }
                text += "  {\n    bucket_id \(id)\n"
                if !replacement.weightSets.isEmpty {
                    text += "    weight_set [\n"
                    for weights in replacement.weightSets {
                        let values = weights.map { FixedPoint.compilableText($0.rawValue) + " " }.joined()
                        text += "      [ \(values)]\n"
                    }
                    text += "    ]\n"
                }
                if !replacement.ids.isEmpty {
                    text += "    ids [ \(replacement.ids.map { "\($0) " }.joined())]\n"
                }
                text += "  }\n"
            }
            text += "}\n"
        }
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
        case .uniform: "uniform"
        case .list: "list"
        case .tree: "tree"
        case .straw: "straw"
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
