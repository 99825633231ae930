process MOSAICELL {
    tag "$meta.id"
    label 'process_low'

    conda "${moduleDir}/environment.yml"
    container 'mosaicell:cpu'

    input:
    // in a folder of its own, so that no result meets it
    tuple val(meta), path(image, stageAs: 'image/*')

    output:
    tuple val(meta), path("*_label.tiff")   , emit: mask
    tuple val(meta), path("*.run.json")     , emit: report
    tuple val(meta), path("*_overlay.png")  , emit: overlay , optional: true
    tuple val(meta), path("*_cells.csv")    , emit: table   , optional: true
    tuple val(meta), path("*_cells.geojson"), emit: outlines, optional: true
    tuple val(meta), path("*_rois.zip")     , emit: rois    , optional: true
    tuple val(meta), path("*.zarr")         , emit: labels  , optional: true
    tuple val("${task.process}"), val('mosaicell'), eval("mosaicell --version | sed 's/.* //'"), topic: versions, emit: versions_mosaicell

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    // results are named after the image
    def named = image.extension ? "${prefix}.${image.extension}" : prefix
    """
    mkdir named
    ln -s ../$image "named/$named"
    mosaicell "named/$named" -o cells --threads $task.cpus --report $args
    mv cells/run.json "cells/${prefix}.run.json"
    mv cells/* .
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch "${prefix}_label.tiff" "${prefix}.run.json"
    """
}
