#!/usr/bin/env nextflow
// Segments every image of a folder, a task for each: nextflow run workflows/nextflow --images IMAGES --outdir MASKS

include { MOSAICELL } from './modules/local/mosaicell/main'

workflow {
    def suffixes = ['tif', 'tiff', 'png', 'jpg', 'jpeg', 'bmp', 'webp', 'mha']
    def slides = ['svs', 'ndpi', 'scn', 'qptiff', 'lsm', 'btf', 'zarr']
    images = channel.fromPath("${params.images}/*", type: 'any', checkIfExists: true)
        .filter { image -> image.extension.toLowerCase() in suffixes + slides }
        .map { image -> tuple(image.baseName, image) }
        .groupTuple()
        .map { name, files ->
            // the mask is named after the image without its suffix
            if (files.size() > 1) {
                error "${files.join(' and ')} would have one mask: rename one of them"
            }
            tuple([id: name], files[0])
        }
    MOSAICELL(images)
}
