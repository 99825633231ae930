// Reads a file of Nextflow with the language that it is written in, and says as JSON what is in it. Arguments: the file, and
// as JSON the values of its variables. A process gives its channels and its script, filled in; a workflow what it passes to
// its process; a configuration its values. What channels do is done with lists.

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.control.CompilerConfiguration

class Image {
    String path
    String getName() { path.tokenize('/').last() }
    String getExtension() { name.contains('.') ? name.tokenize('.').last() : '' }
    String getBaseName() { extension ? name[0..<-(extension.size() + 1)] : name }
    // as a path stands in a script
    String toString() { path.replaceAll(/([ ()'"&;])/, '\\\\$1') }
}

class Items {
    List all
    Items filter(Closure wanted) { new Items(all: all.findAll(wanted)) }
    Items map(Closure change) { new Items(all: all.collect { change.maximumNumberOfParameters > 1 ? change(*it) : change(it) }) }
    Items groupTuple() { new Items(all: all.groupBy { it[0] }.collect { name, items -> [name, items.collect { it[1] }] }) }
}

class Folders {
    Items fromPath(Map options, String glob) {
        new Items(all: new File(glob).parentFile.listFiles().sort().collect { new Image(path: it.path) })
    }
}

abstract class Host extends Script {
    Map said = [inputs: [], outputs: [:], passed: []]

    // named elements of a channel by their names
    def name(value) { binding.variables.find { it.value.is(value) }?.key ?: value.toString() }
    def val(value) { name(value) }
    def eval(value) { name(value) }
    def path(Map options = [:], value) { name(value) }
    def tuple(Object... parts) {
        if (!(parts[0] instanceof Map && parts[0].emit)) {
            said.inputs << parts
            return parts as List
        }
        def options = parts[0]
        said.outputs[options.emit] = [elements: parts.drop(1), optional: options.optional ?: false, topic: options.topic ?: '']
    }
    def error(String why) { throw new IllegalArgumentException(why) }
    def propertyMissing(String name) { name }
    def methodMissing(String name, arguments) {
        def given = arguments ? arguments[0] : null
        if (given instanceof Items) {
            said.passed = given.all
        } else if (name == 'workflow') {
            given()
        } else if (given instanceof Closure && name == name.toUpperCase()) {
            said.process = name
            said.script = given().toString()
        }
        this
    }
}

def file = new File(args[0])
def values = new JsonSlurper().parseText(args[1])
if (file.name.endsWith('.config')) {
    def slurper = new ConfigSlurper()
    def settings = slurper.parse(file.toURI().toURL())
    def strategy = { status, attempt ->
        def closure = settings.process.errorStrategy.clone()
        closure.delegate = [task: [exitStatus: status, attempt: attempt]]
        closure.resolveStrategy = Closure.DELEGATE_FIRST
        closure()
    }
    println JsonOutput.toJson([params: settings.params, failOnIgnore: settings.workflow.failOnIgnore,
        process: settings.process.MOSAICELL, strategies: [[1, 1], [137, 1], [137, 2], [137, 3]].collect { strategy(*it) }])
    return
}
def compiler = new CompilerConfiguration(scriptBaseClass: 'Host')
def variables = [channel: new Folders(), *: values]
if (values.image) variables.image = new Image(path: values.image)
def script = new GroovyShell(this.class.classLoader, new Binding(variables), compiler).parse(values.text ?: file.text)
script.run()
println JsonOutput.toJson(script.said)
